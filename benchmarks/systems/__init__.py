"""Whole systems for speech side by side, each a process in an environment of its own."""
