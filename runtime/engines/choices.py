"""The names that `--run-with` and `run_with=` take. `runtime.engines.opening` opens engines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

AUTO = "auto"  # what the bundle was built for
ONNXRUNTIME = "onnxruntime"
PROVIDERS = {  # name -> name in runtime.engines.onnxruntime.graphs
    ONNXRUNTIME: "CPU",
    "onnxruntime-cuda": "CUDA",
    "onnxruntime-tensorrt": "TENSORRT",
    "onnxruntime-tensorrt-rtx": "TENSORRT_RTX",
}
PLANS = ("tensorrt", "tensorrt-rtx")  # kinds of engine in runtime.bundle
CHOICES = (AUTO, *PROVIDERS, *PLANS)


class _Renamed(argparse.Action):
    """An option of earlier versions."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> NoReturn:
        parser.error(f"{option_string} is called --run-with now: --run-with {values}")


def add_run_with(parser: argparse.ArgumentParser) -> None:
    """The option --run-with."""
    others = ", ".join(name for name in CHOICES if name != AUTO)
    parser.add_argument(
        "--run-with",
        choices=CHOICES,
        default=AUTO,
        metavar="NAME",
        help=f"default: {AUTO} (what the engine was built for); else one of: {others}",
    )
    parser.add_argument("--backend", action=_Renamed, help=argparse.SUPPRESS)
