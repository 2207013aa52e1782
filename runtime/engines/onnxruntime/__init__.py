"""ONNX Runtime: on the CPU, or by one of its execution providers."""
