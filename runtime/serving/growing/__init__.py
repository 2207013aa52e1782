"""Texts that are spoken while they grow: sentences are ordered one by one, as one speech."""
