"""What lies in a checkpoint beside its weights: configuration, tokenizer, prompts, tensor names."""
