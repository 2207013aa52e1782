"""Sound: reading recordings, finding the speech in them, writing and playing speech."""
