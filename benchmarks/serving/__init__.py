"""Load and soak of a server of speech, or of the scheduler alone."""
