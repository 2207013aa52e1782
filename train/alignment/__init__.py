"""Which frame speaks which symbol, found in recordings and texts alone."""
