"""Recordings with texts become speech tokens."""
