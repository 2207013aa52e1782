"""The number formats of quantized weights: INT8, INT4 and FP8 E4M3, all symmetric.

In: float32 arrays and positive scales. Out: codes, which are stored, and the values that codes
stand for. Zero is always code 0, because TensorRT takes no other zero point. It knows no graphs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from formats.precisions import FormatName
from formats.weights import Array


@dataclass(frozen=True)
class NumberFormat:
    """A format of few bits. A value is code · scale; codes lie in [lowest, largest].

    round: maps float32 (…) to the nearest codes, also float32; ties go to even.
    """

    name: FormatName
    bits: int
    lowest: float
    largest: float
    round: Callable[[Array], Array]

    def encode(self, values: Array, scale: Array | float) -> Array:
        """Codes of `values`, as float32; `scale` broadcasts."""
        return self.round(np.clip(values / scale, self.lowest, self.largest))

    def approximate(self, values: Array, scale: Array | float) -> Array:
        """`values` after rounding to codes and back, float32."""
        return self.encode(values, scale) * np.asarray(scale, np.float32)


def _round_fp8(values: Array) -> Array:
    return values.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)


INT8 = NumberFormat("int8", 8, -127.0, 127.0, np.rint)
INT4 = NumberFormat("int4", 4, -8.0, 7.0, np.rint)
FP8 = NumberFormat("fp8", 8, -448.0, 448.0, _round_fp8)  # arXiv 2209.05433, table 1

FORMATS: dict[FormatName, NumberFormat] = {form.name: form for form in (INT8, INT4, FP8)}


def spread(scales: Array, channels: int) -> Array:
    """Scales (out, blocks) -> (out, channels): every block's scale beside its channels."""
    return np.repeat(scales, channels // scales.shape[1], axis=1)


def pack_nibbles(codes: Array) -> Array:
    """uint8 codes 0 … 15 (…, 2·n) -> bytes (…, n), the first of each pair in the low bits."""
    codes = codes.astype(np.uint8)
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def unpack_nibbles(packed: Array) -> Array:
    """Bytes (…, n) -> uint8 codes (…, 2·n)."""
    pairs = np.stack([packed & 0xF, packed >> 4], axis=-1)
    return pairs.reshape(*packed.shape[:-1], -1)
