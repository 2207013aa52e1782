"""The same model exported for the native engine and for ONNX Runtime: for tests that compare them.

In: checkpoints of a model and a codec. Out: two loaded bundles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from export.native.bundle import build_native_bundle
from export.options import Capacity, ExportOptions, Numbers, Source
from export.pipeline import build_bundle
from formats.precisions import CacheFormat, Precision
from runtime import TTS
from runtime.bundle.names import NATIVE, ORT


@dataclass(frozen=True)
class Pair:
    """One model on both engines."""

    native: TTS
    reference: TTS  # on ONNX Runtime


def export_pair(
    model: Path | None,
    codec: Path | None,
    folder: Path,
    precision: Precision = "fp32",
    calibration: Path | None = None,
    *,
    cache: CacheFormat | None = None,
    text_head: bool = False,
    positions: int = 1024,
    threads: int = 1,
    heads: int | None = None,
) -> Pair:
    """Export both and load both. Nothing but the tests themselves compares them.

    Without a model: the demo voice with so many heads.
    """
    options = ExportOptions(
        Source(model, codec, heads=heads),
        Numbers(precision, NATIVE, calibration, cache=cache),
        Capacity(positions, rows=16),
        text_head=text_head,
        output=folder / "native",
        compare=False,
    )
    build_native_bundle(options)
    in_ort = "fp32" if precision == "bf16" else precision  # it has no bf16 on the CPU
    numbers = Numbers(in_ort, ORT, calibration)
    build_bundle(replace(options, numbers=numbers, output=folder / "ort"))
    native, reference = (TTS.load(folder / name, threads=threads) for name in ("native", "ort"))
    return Pair(native, reference)
