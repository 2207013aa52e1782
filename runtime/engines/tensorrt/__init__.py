"""TensorRT and TensorRT-RTX: plans, the GPUs they run on, and the step loop on the device."""
