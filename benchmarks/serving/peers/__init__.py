"""Other servers of speech beside ours: which there are, how each is started, and their table."""
