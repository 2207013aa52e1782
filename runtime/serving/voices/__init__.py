"""Voices of the server: those of the bundle, and those that were uploaded."""
