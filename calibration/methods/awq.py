"""AWQ: give input channels with large values a larger share of the weight's few levels.

In: a weight (out, in) and a sample of its inputs (n, in). Out: a smoothing vector (in). Inputs are
divided by it and weights multiplied, which changes nothing before rounding. After J. Lin et
al., AWQ (arXiv 2306.00978), section 3.2: s = mean|x|^alpha, alpha by search.
"""

from __future__ import annotations

import numpy as np

from calibration.methods.weight_scales import approximate_weight, weight_scales
from formats.number_formats import NumberFormat
from formats.weights import Array

ALPHAS = np.linspace(0.0, 1.0, 21)
SEARCH_ROWS = 128  # of the sample: enough to tell exponents apart
SMALLEST = 1e-4  # of a channel's mean magnitude, as a share of the largest


def search_awq(weight: Array, inputs: Array, block: int, form: NumberFormat) -> tuple[Array, float]:
    """(smoothing float32 (in), alpha) with the least squared error of the layer's output.

    The search takes the scales of weights from the largest magnitudes, which is fast.
    """
    inputs = inputs[:SEARCH_ROWS]
    expected = inputs @ weight.T
    candidates = [(awq_smoothing(inputs, alpha), float(alpha)) for alpha in ALPHAS]

    def error(candidate: tuple[Array, float]) -> float:
        smoothed = weight * candidate[0]
        scales = weight_scales(smoothed, block, form, "max")
        rounded = approximate_weight(smoothed, scales, form)
        return float(np.square((inputs / candidate[0]) @ rounded.T - expected).mean())

    return min(candidates, key=error)


def awq_smoothing(inputs: Array, alpha: float) -> Array:
    """mean|x|^alpha, scaled so that its smallest and largest values are each other's inverse."""
    magnitudes = np.abs(inputs).mean(axis=0)
    magnitudes = np.maximum(magnitudes, SMALLEST * magnitudes.max() + np.finfo(np.float32).tiny)
    powers = magnitudes**alpha
    return (powers / np.sqrt(powers.min() * powers.max())).astype(np.float32)
