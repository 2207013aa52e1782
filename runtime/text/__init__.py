"""Text as people type it, up to the string that a model reads."""
