"""One scale for all inputs of a layer, by max, percentile, entropy or MSE.

In: values (n, channels), a sample of the layer's inputs, and the largest magnitude of all inputs.
Out: a positive float. All methods are symmetric: the scale is a threshold divided by the format's
largest code, and values beyond the threshold saturate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calibration.methods.choices import ActivationMethod
from commands.errors import UserError
from formats.number_formats import NumberFormat
from formats.weights import Array

PERCENTILE = 99.99
BINS = 2048  # of the histogram of magnitudes
LEVELS = 128  # magnitudes that INT8 can tell apart
STRIDE = 16  # bins between thresholds to try
MSE_SHRINKAGE = np.linspace(1.0, 0.1, 46)  # thresholds to try, as shares of the largest value
SMALLEST_SCALE = 2.0**-20  # for inputs that are always zero; float16 can hold it


def activation_scale(
    method: ActivationMethod, values: Array, largest: float, form: NumberFormat
) -> float:
    """The scale of `values`, exact in float16.

    Raises:
        UserError: entropy with another format than INT8.
    """
    threshold = _THRESHOLDS[method](np.abs(values), largest, form)
    return float(np.float16(_scale(threshold, form)))


def _max(magnitudes: Array, largest: float, form: NumberFormat) -> float:
    return largest


def _percentile(magnitudes: Array, largest: float, form: NumberFormat) -> float:
    return float(np.percentile(magnitudes, PERCENTILE))


def _entropy(magnitudes: Array, largest: float, form: NumberFormat) -> float:
    """The threshold whose quantized histogram diverges least (S. Migacz, GTC 2017)."""
    if form.name != "int8":
        raise UserError(
            f"--activations entropy counts equal levels, which {form.name} does not have; use mse"
        )
    width = largest / BINS or SMALLEST_SCALE
    counts, _ = np.histogram(magnitudes, bins=BINS, range=(0.0, width * BINS))
    counts[0] = 0  # zeros cost nothing at any threshold
    thresholds = range(LEVELS, BINS + 1, STRIDE)
    divergences = [_divergence(counts, bins) for bins in thresholds]
    return width * thresholds[int(np.argmin(divergences))]


def _divergence(counts: Array, bins: int) -> float:
    """KL divergence of the histogram clipped at `bins` from itself with LEVELS levels."""
    clipped = counts[:bins].astype(np.float64)
    present = clipped > 0
    level = np.arange(bins) * LEVELS // bins
    mass = np.bincount(level, clipped, LEVELS)
    share = np.bincount(level, present, LEVELS)
    quantized = np.where(present, (mass / np.maximum(share, 1))[level], 0.0)
    clipped[-1] += counts[bins:].sum()  # saturated values count in p, not in the levels
    if not quantized.any():
        return np.inf
    p, q = clipped / clipped.sum(), quantized / quantized.sum()
    q = np.maximum(q, 1e-12)
    return float(np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / q), 0.0)))


def _mse(magnitudes: Array, largest: float, form: NumberFormat) -> float:
    """The threshold with the least squared error."""
    thresholds = [largest * share for share in MSE_SHRINKAGE]
    errors = [
        float(np.mean((magnitudes - form.approximate(magnitudes, _scale(limit, form))) ** 2))
        for limit in thresholds
    ]
    return thresholds[int(np.argmin(errors))]


def _scale(threshold: float, form: NumberFormat) -> float:
    return max(threshold / form.largest, SMALLEST_SCALE)


_THRESHOLDS: dict[ActivationMethod, Callable[[Array, float, NumberFormat], float]] = {
    "max": _max,
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _mse,
}
