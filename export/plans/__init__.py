"""From a bundle of standard operators to a bundle of plans for TensorRT.

`plan_bundle` does the work with the other files, in this order: `targets` chooses the GPUs and
refuses those that cannot do what is asked (`device` is this machine's GPU), `library` opens
TensorRT, `network` parses an ONNX file, `inspection` refuses a network that differs from the file
or from `precision_plan`, `plans` builds the plan. `trtexec` writes the same work as commands of
NVIDIA's own tool. TensorRT-RTX builds plans on any machine, TensorRT on the device that runs them.
"""
