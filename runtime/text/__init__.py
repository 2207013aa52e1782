"""From text as people type it to the string that a model reads."""
