"""Which frame speaks which symbol, found from recordings and their texts."""
