"""SmoothQuant: move the spread of input channels into the weight, so that 8 bits hold both.

In: a weight (out, in), a sample of its inputs (n, in) and each channel's largest magnitude.
Out: a smoothing vector (in); inputs are divided by it and weights multiplied. After G. Xiao et
al., SmoothQuant (arXiv 2211.10438), equation 4, with alpha by search.
"""

from __future__ import annotations

import numpy as np

from calibration.methods.activation_scales import activation_scale
from calibration.methods.choices import ActivationMethod
from calibration.methods.weight_scales import approximate_weight, weight_scales
from formats.number_formats import NumberFormat
from formats.weights import Array

ALPHAS = np.linspace(0.1, 0.9, 9)
SEARCH_ROWS = 128  # of the sample: enough to tell exponents apart
SMALLEST = 1e-4  # of a channel's largest magnitude, as a share of all channels' largest


def search_smoothquant(
    weight: Array,
    inputs: Array,
    largest: Array,
    form: NumberFormat,
    activations: ActivationMethod,
) -> tuple[Array | None, float]:
    """(smoothing float32 (in), alpha) with the least squared error of the layer's output.

    (None, 0) if no smoothing is best. The search takes the scales of weights from their largest
    magnitudes, which is fast.
    """
    inputs = inputs[:SEARCH_ROWS]
    expected = inputs @ weight.T
    candidates: list[tuple[Array | None, float]] = [(None, 0.0)]
    candidates += [(smoothing_factors(weight, largest, alpha), float(alpha)) for alpha in ALPHAS]

    def error(candidate: tuple[Array | None, float]) -> float:
        factors = candidate[0] if candidate[0] is not None else np.ones(1, np.float32)
        x, smoothed = inputs / factors, weight * factors
        scale = activation_scale(activations, x, float((largest / factors).max()), form)
        scales = weight_scales(smoothed, weight.shape[1], form, "max")
        product = form.approximate(x, scale) @ approximate_weight(smoothed, scales, form).T
        return float(np.square(product - expected).mean())

    return min(candidates, key=error)


def smoothing_factors(weight: Array, largest: Array, alpha: float) -> Array:
    """max|x|^alpha / max|w|^(1 - alpha) of each input channel: float32 (in)."""
    of_inputs = np.maximum(largest, SMALLEST * largest.max() + np.finfo(np.float32).tiny)
    of_weights = np.abs(weight).max(axis=0)
    of_weights = np.maximum(of_weights, SMALLEST * of_weights.max() + np.finfo(np.float32).tiny)
    return (of_inputs**alpha / of_weights ** (1.0 - alpha)).astype(np.float32)
