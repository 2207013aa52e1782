"""Judges of speech and answers, and the reports and pictures of what they say."""
