"""Checkpoints of language models and codecs, opened without torch."""
