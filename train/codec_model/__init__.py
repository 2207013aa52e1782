"""The codec in PyTorch: FACodec at any size."""
