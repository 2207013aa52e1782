"""From a portable bundle to an engine directory for TensorRT.

One file after the other, in the data's way: `library` (the API), `network` (ONNX file to network),
`inspection` (is the network what the file says), `plans` (network to plan), `engine` (the
directory), `gpu_build` (for which GPUs), `trtexec` (the same by NVIDIA's own command). Nothing here
needs a GPU for TensorRT-RTX, whose plans are built ahead of time; TensorRT itself builds on the
device.
"""
