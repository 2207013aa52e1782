"""What an export is asked for, and the choices that its command line has.

Standard library only, so that `--help` needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.bundle.manifest import Precision

DEMO_HEADS = 6  # understood best: docs/performance.md
DIALECTS = ("ort", "portable")
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8", "int4")
CODEC_PRECISIONS = ("int8", "fp8")  # of the decoder's convolutions; all else is fp32
CODEC_ACTIVATIONS = ("operators", "plugin")
DEFAULT_OUTPUT = "engine"
CPU = "onnxruntime"
TARGETS = (CPU, "tensorrt-rtx", "tensorrt")
CPU_ROWS, PLAN_ROWS = 16, 4  # utterances side by side, where --rows does not say
COMPARISON_TAKES = """some seconds for a model of the demo's size, a minute or two at the published
size, longer beside other work"""


@dataclass(frozen=True)
class BuildOptions:
    """What to export. Without `model`: the demo voice."""

    heads: int | None = None  # checked against the checkpoint; for the demo voice, which one
    model: Path | None = None
    codec: Path | None = None
    voices: tuple[str, ...] = ()  # NAME=FILE
    output: Path = Path(DEFAULT_OUTPUT)
    precision: Precision = "fp32"
    dialect: str = "ort"
    codec_activation: str = "operators"
    text_head: bool = False
    max_positions: int | None = None
    rows: int | None = None  # utterances that one call takes at most; None: as the target does
    calibration: Path | None = None  # what `python -m calibration.run` left
    codec_calibration: Path | None = None  # what `python -m calibration.codec` left
    compare: bool | None = None  # with PyTorch; None: where that is installed
