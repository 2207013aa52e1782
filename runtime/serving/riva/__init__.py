"""gRPC with the protocol of NVIDIA Riva's speech synthesis, on a port of its own."""
