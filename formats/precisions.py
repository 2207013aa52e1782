"""The precisions of a model: the names that command lines, manifests and calibrations use.

Standard library only, so that a command's `--help` needs nothing else. `formats.number_formats` has
the arithmetic of the formats of few bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

FormatName = Literal["int8", "fp8", "int4"]  # few bits: these need the scales of a calibration
Precision = Literal["fp32", "fp16", "bf16", FormatName]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FEW_BITS: tuple[FormatName, ...] = get_args(FormatName)
CacheFormat = Literal["fp32", "fp16", "int8"]  # of the native engine's keys and values
CACHE_FORMATS: tuple[CacheFormat, ...] = get_args(CacheFormat)
# By the weights' precision; judged in docs/calibration.md.
USUAL_CACHES: Mapping[Precision, CacheFormat] = {
    "fp32": "fp32",
    "bf16": "fp16",
    "int8": "int8",
    "int4": "int8",
}
NATIVE_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8", "int4")
NATIVE_CODEC_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")
CODEC_FEW_BITS: tuple[FormatName, ...] = ("int8", "fp8")  # of the codec's decoder, else fp32
TENSORRT_BLOCKS = (64, 128)  # input channels that share a scale of int4; TensorRT-RTX has 32 too
