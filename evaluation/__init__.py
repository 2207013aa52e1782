"""Judges of speech and answers, and reports and pictures of their results."""
