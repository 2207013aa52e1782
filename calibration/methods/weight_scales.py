"""Scales of weights: one for each output channel, or for each block of its input channels.

In: a weight (out, in). Out: scales float32 (out, blocks). "max" takes the scale that cuts off no
value (INT4 reaches further below zero than above), "mse" the one up to it with the least squared
error. "signed" also tries negative scales, so that the code that reaches furthest, -8, can stand
for the largest value, whatever its sign. All scales are exact in float16, the type in which engines
may keep them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibration.methods.choices import WeightScaleMethod
from formats.number_formats import NumberFormat, spread
from formats.weights import Array

SHRINKAGE = np.linspace(1.0, 0.5, 26)  # scales to try, as shares of the largest one
SMALLEST_SCALE = 2.0**-20  # for a block of zeros; float16 can hold it


def weight_scales(
    weight: Array,
    block: int,
    form: NumberFormat,
    method: WeightScaleMethod,
    importance: Array | None = None,
) -> Array:
    """Scales (out, in / block) of weight (out, in); a block is all of `in` or divides it.

    importance: (block), weights of the squared errors of a block's inputs; None if all are equal.
    """
    blocks = weight.reshape(len(weight), -1, block)
    best = np.zeros(blocks.shape[:2], np.float32)
    least = np.full(blocks.shape[:2], np.inf)
    for scales in _candidates(blocks, form, method):
        errors = np.square(blocks - form.approximate(blocks, scales[..., None]))
        errors = errors.sum(axis=2) if importance is None else errors @ importance
        best = np.where(errors < least, scales, best)
        least = np.minimum(errors, least)
    return best


def _candidates(blocks: Array, form: NumberFormat, method: WeightScaleMethod) -> Iterator[Array]:
    """Scales (out, blocks) to try for blocks (out, blocks, block)."""
    for share in SHRINKAGE[:1] if method == "max" else SHRINKAGE:
        for sign in (1, -1) if method == "signed" else (1,):
            signed = sign * blocks
            whole = signed.max(axis=2) / form.largest
            whole = np.maximum(whole, signed.min(axis=2) / form.lowest)
            yield sign * in_float16(np.maximum(whole * share, SMALLEST_SCALE))


def in_float16(scales: Array) -> Array:
    """The nearest float16 numbers, as float32; infinite beyond its range."""
    with np.errstate(over="ignore"):
        return scales.astype(np.float16).astype(np.float32)


def approximate_weight(weight: Array, scales: Array, form: NumberFormat) -> Array:
    """The weight (out, in) after rounding with scales (out, blocks)."""
    return form.approximate(weight, spread(scales, weight.shape[1]))
