"""The names that `--backend` and `backend=` take. What opens them is `runtime.engines.opening`."""

from __future__ import annotations

import argparse

AUTO = "auto"  # what the bundle was built for
ONNXRUNTIME = "onnxruntime"
PROVIDERS = {  # backend -> name in runtime.engines.onnxruntime.graphs
    ONNXRUNTIME: "CPU",
    "onnxruntime-cuda": "CUDA",
    "onnxruntime-tensorrt": "TENSORRT",
    "onnxruntime-tensorrt-rtx": "TENSORRT_RTX",
}
PLANS = ("tensorrt", "tensorrt-rtx")  # kinds of engine in runtime.bundle
BACKENDS = (AUTO, *PROVIDERS, *PLANS)


def add_backend(parser: argparse.ArgumentParser) -> None:
    """The option --backend."""
    others = ", ".join(name for name in BACKENDS if name != AUTO)
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=AUTO,
        metavar="NAME",
        help=f"default: {AUTO} (what the engine was built for); else one of: {others}",
    )
