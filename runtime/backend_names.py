"""The names that `--backend` and `backend=` take. What opens them is `runtime.backends`."""

from __future__ import annotations

AUTO = "auto"  # what the bundle was built for
ONNXRUNTIME = "onnxruntime"
PROVIDERS = {  # backend -> name in runtime.sessions.onnxruntime
    ONNXRUNTIME: "CPU",
    "onnxruntime-cuda": "CUDA",
    "onnxruntime-tensorrt": "TENSORRT",
    "onnxruntime-tensorrt-rtx": "TENSORRT_RTX",
}
PLANS = ("tensorrt", "tensorrt-rtx")  # kinds of engine in runtime.bundle
BACKENDS = (AUTO, *PROVIDERS, *PLANS)
