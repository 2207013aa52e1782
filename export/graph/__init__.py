"""ONNX graphs under construction, the dialects they are written in, and running them."""
