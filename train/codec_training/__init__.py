"""How a codec is trained: tokenizer first, then decoder."""
