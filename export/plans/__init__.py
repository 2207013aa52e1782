"""From a portable bundle to a bundle of plans for TensorRT.

The files in the order of the work: `targets` (for which GPUs; `device` is this machine's),
`library` (TensorRT's API), `network` (ONNX file to network), `inspection` (is the network what the
file says; `precision_plan` is what was meant), `plans` (network to plan), `plan_bundle` (the
directory). `trtexec` writes the same work as commands of NVIDIA's own tool. TensorRT-RTX builds
plans on any machine; TensorRT builds them on the device that runs them.
"""
