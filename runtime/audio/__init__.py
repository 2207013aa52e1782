"""Sound: recordings in, a speaker's part of them, speech out, playback."""
