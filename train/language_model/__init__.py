"""The language model in PyTorch: backbone, heads, checkpoints, the reference of decoding."""
