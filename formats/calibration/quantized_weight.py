"""A weight in few bits: scales, smoothing and codes, in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from formats.number_formats import NumberFormat, spread
from formats.weights import Array


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight (out, in) in few bits.

    block: input channels that share a scale. scales: float32 (out, in / block), exact in
    float16; those of INT4 may be negative. smoothing: float32 (in); inputs are divided by it, and
    the weight is multiplied by it.
    codes: whole numbers (out, in) of any type, or None for the nearest ones.
    """

    form: NumberFormat
    block: int
    scales: Array
    smoothing: Array | None = None
    codes: Array | None = None
    activation_scale: float | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return len(self.scales), self.block * self.scales.shape[1]

    def encode(self, weight: Array) -> Array:
        """Codes (out, in) of the weight (out, in), as float32."""
        if self.codes is not None:
            return self.codes.astype(np.float32, copy=False)
        smoothed = weight if self.smoothing is None else weight * self.smoothing
        return self.form.encode(smoothed, spread(self.scales, weight.shape[1]))
