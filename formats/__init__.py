"""What stages hand on to each other: configurations, tokens, scales, number formats."""
