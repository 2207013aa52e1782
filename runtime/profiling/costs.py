"""What a stage has to read and to multiply, whoever does it, and the least time that this takes.

In: a loaded bundle, and the machine's limits. Out: bytes of weights and multiply-adds (MACs) of one
call of each stage. Caches, signals and sampling are left out: they are small beside these. A native
bundle says the sizes of its matrices; of others, the files' sizes are known, and MACs follow from
the bytes of a weight. What cannot be known is None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from formats.safetensors_reader import read_metadata
from runtime.bundle import names
from runtime.engines import observing
from runtime.profiling.report import Limits

if TYPE_CHECKING:
    from runtime.speech.synthesis import TTS

FACTS_KEY = "slm"  # of a native bundle's weights (docs/native-engine.md)
_WEIGHT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
_PRODUCTS = {"int4": "int8"}  # weights in 4 bits are multiplied in 8


@dataclass(frozen=True)
class Cost:
    """Of one call. number_format: of the products."""

    read_bytes: float | None
    macs: float | None
    number_format: str

    def limit(self, limits: Limits | None) -> tuple[float, str] | None:
        """The least seconds that the machine allows, and "memory" or "products", whatever bounds
        it. None where the products are not known, or no limit of theirs: memory alone would flatter
        the machine. Weights that fit into a cache are not read from memory."""
        if limits is None or self.macs is None:
            return None
        rates: Mapping[str, float | None] = {
            "fp32": limits.fp32_macs_per_second,
            "bf16": limits.bf16_macs_per_second,
            "int8": limits.int8_macs_per_second,
        }
        bounds = {
            "memory": None
            if self._fits_cache(limits)
            else _quotient(self.read_bytes, limits.read_bytes_per_second),
            "products": _quotient(self.macs, rates.get(self.number_format)),
        }
        known = {name: seconds for name, seconds in bounds.items() if seconds is not None}
        if not known:
            return None
        bound = max(known, key=lambda name: known[name])
        return known[bound], bound

    def _fits_cache(self, limits: Limits) -> bool:
        return (self.read_bytes or 0) <= (limits.cache_bytes or 0)


def _quotient(amount: float | None, rate: float | None) -> float | None:
    return None if not amount or not rate else amount / rate


def stage_costs(tts: TTS, prompt_positions: float, chunk_frames: float) -> dict[str, Cost]:
    """The cost of a mean call of each stage.

    prompt_positions: that a prefill reads. chunk_frames: of a codec chunk.
    """
    manifest = tts.bundle.manifest
    if manifest.engine.kind == names.NATIVE:
        facts = json.loads(read_metadata(tts.bundle.path(names.PACKED_WEIGHTS))[FACTS_KEY])
        return _native_costs(facts, prompt_positions, chunk_frames)
    backbone, head, codec = (
        _file_cost(tts, name) for name in (names.BACKBONE, manifest.head, names.CODEC_DECODER)
    )
    return _costs(
        backbone, head, Cost(codec.read_bytes, None, codec.number_format), prompt_positions
    )


def _costs(backbone: Cost, head: Cost, codec: Cost, prompt_positions: float) -> dict[str, Cost]:
    whole = Cost(
        (backbone.read_bytes or 0) + (head.read_bytes or 0),
        (backbone.macs or 0) + (head.macs or 0),
        backbone.number_format,
    )
    macs = (backbone.macs or 0) * prompt_positions
    return {
        observing.PREFILL: Cost(backbone.read_bytes, macs, backbone.number_format),
        observing.STEP: backbone,
        observing.HEAD: head,
        observing.WHOLE_STEP: whole,
        observing.DEVICE_STEP: whole,
        observing.CODEC_CHUNK: codec,
    }


def _file_cost(tts: TTS, graph: str) -> Cost:
    spec = tts.bundle.graph(graph)
    files = tts.bundle.manifest.files
    size = float(files[spec.weights or spec.file].size_bytes)
    number_format = _PRODUCTS.get(spec.precision, spec.precision)
    return Cost(size, size / _WEIGHT_BYTES[spec.precision], number_format)


# Native bundles.


def _native_costs(
    facts: Mapping[str, Any], prompt_positions: float, chunk_frames: float
) -> dict[str, Cost]:
    matrices = facts["matrices"]
    precision = facts["language_model"]["precision"]
    products = _PRODUCTS.get(precision, precision)
    backbone, head = (_matrix_cost(matrices, prefix, products) for prefix in ("layer.", "head."))
    return _costs(backbone, head, _native_codec_cost(facts, chunk_frames), prompt_positions)


def _matrix_cost(matrices: Mapping[str, Any], prefix: str, number_format: str) -> Cost:
    found = [matrix for name, matrix in matrices.items() if name.startswith(prefix)]
    return Cost(sum(map(_size_bytes, found)), sum(map(_count_weights, found)), number_format)


def _native_codec_cost(facts: Mapping[str, Any], chunk_frames: float) -> Cost:
    """Each convolution runs at the rate of its outputs: a frame becomes ratio times as many
    positions in each stage. An up-sampling convolution makes them all from one position before."""
    codec, matrices = facts["codec"], facts["matrices"]
    positions, size, macs = chunk_frames, 0.0, 0.0
    parts = ["first", *(str(stage) for stage in range(len(codec["decoder_ratios"]))), "last"]
    for part in parts:
        prefix = f"codec.decoder.{part}"
        for name, matrix in matrices.items():
            if name == prefix or name.startswith(f"{prefix}."):
                is_up = name == f"{prefix}.up"
                ratio = codec["decoder_ratios"][int(part)] if part.isdecimal() else 1
                macs += _count_weights(matrix) * positions * (1 if is_up else ratio)
                size += _size_bytes(matrix)
        positions *= codec["decoder_ratios"][int(part)] if part.isdecimal() else 1
    return Cost(size, macs, codec["precision"])


def _count_weights(matrix: Mapping[str, Any]) -> float:
    return float(matrix["outputs"] * matrix["channels"] * matrix["taps"])


def _size_bytes(matrix: Mapping[str, Any]) -> float:
    """Codes and scales, which are float16."""
    scales = 2.0 * matrix["outputs"] * matrix.get("scale_blocks", 0)
    return _count_weights(matrix) * _WEIGHT_BYTES[matrix["format"]] + scales
