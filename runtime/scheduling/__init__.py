"""Many listeners at once: texts wait, are spoken side by side, and leave. It knows no network."""
