"""The same model exported for the native engine and for ONNX Runtime: for tests that compare them.

In: checkpoints of a model and a codec. Out: two loaded bundles.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from export.native.bundle import build_native_bundle
from export.options import Capacity, ExportOptions, Numbers, Source
from export.pipeline import build_bundle
from formats.precisions import Precision
from runtime import TTS
from runtime.bundle.loading import describe_file
from runtime.bundle.names import MANIFEST_FILE, NATIVE, ORT, PACKED_WEIGHTS


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
        Numbers(precision, NATIVE, calibration),
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


def widen_cache(bundle: Path) -> None:
    """Let a native bundle of few bits keep keys and values in float32, as ONNX Runtime does.

    The usual float16 changes an input by 2^-11, and some codes of inputs by one step with it.
    """
    weights, manifest = bundle / PACKED_WEIGHTS, bundle / MANIFEST_FILE
    content = weights.read_bytes()
    assert content.count(b"float16", 0, 2**20) == 1
    weights.write_bytes(content.replace(b"float16", b"float32", 1))
    described = json.loads(manifest.read_text("utf-8"))
    described["files"][PACKED_WEIGHTS]["sha256"] = describe_file(weights).sha256
    manifest.write_text(json.dumps(described), "utf-8")
