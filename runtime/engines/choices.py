"""The names that `--run-with` and `run_with=` take. `runtime.engines.opening` opens engines."""

from __future__ import annotations

from commands.options import Options, add_former

AUTO = "auto"  # what the bundle was built for
ONNXRUNTIME = "onnxruntime"
NATIVE = "native"  # this project's own (docs/native-engine.md)
PROVIDERS = {  # name -> name in runtime.engines.onnxruntime.graphs
    ONNXRUNTIME: "CPU",
    "onnxruntime-cuda": "CUDA",
    "onnxruntime-tensorrt": "TENSORRT",
    "onnxruntime-tensorrt-rtx": "TENSORRT_RTX",
}
PLANS = ("tensorrt", "tensorrt-rtx")  # kinds of engine in runtime.bundle
CHOICES = (AUTO, *PROVIDERS, NATIVE, *PLANS)


def add_run_with(options: Options) -> None:
    """`--run-with NAME`: the engine that runs a bundle."""
    others = ", ".join(name for name in CHOICES if name != AUTO)
    options.add_argument(
        "--run-with",
        choices=CHOICES,
        default=AUTO,
        metavar="NAME",
        help=f"what runs the bundle; {AUTO} (default): what it was built for; others: {others}",
    )
    add_former(options, "--backend", "--run-with")
