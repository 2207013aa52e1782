"""Where the time of speech goes: measured, described, compared."""
