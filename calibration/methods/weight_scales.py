"""Scales of weights: one for each output channel, or for each block of its input channels.

In: a weight (out, in). Out: scales float32 (out, blocks). "max" takes the largest magnitude, "mse"
the threshold up to it with the least squared error. All scales are exact in float16, the type in
which engines may keep them.
"""

from __future__ import annotations

import numpy as np

from calibration.methods.choices import WeightScaleMethod
from formats.number_formats import NumberFormat, spread
from formats.weights import Array

SHRINKAGE = np.linspace(1.0, 0.5, 26)  # thresholds to try, as shares of the largest magnitude
SMALLEST_SCALE = 2.0**-20  # for a block of zeros; float16 can hold it


def weight_scales(
    weight: Array, block: int, form: NumberFormat, method: WeightScaleMethod
) -> Array:
    """Scales (out, in / block) of weight (out, in); a block is all of `in` or divides it."""
    blocks = weight.reshape(len(weight), -1, block)
    largest = np.abs(blocks).max(axis=2)
    shrinkage = SHRINKAGE if method == "mse" else SHRINKAGE[:1]
    best = np.zeros_like(largest)
    least = np.full(largest.shape, np.inf)
    for share in shrinkage:
        scales = np.maximum(largest * share / form.largest, SMALLEST_SCALE)
        scales = scales.astype(np.float16).astype(np.float32)
        errors = np.square(blocks - form.approximate(blocks, scales[..., None])).sum(axis=2)
        better = errors < least
        best = np.where(better, scales, best)
        least = np.where(better, errors, least)
    return best.astype(np.float32)


def approximate_weight(weight: Array, scales: Array, form: NumberFormat) -> Array:
    """The weight (out, in) after rounding with scales (out, blocks)."""
    return form.approximate(weight, spread(scales, weight.shape[1]))
