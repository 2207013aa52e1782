"""What a model says and what flows through it, at any precision."""
