"""The difference between two arrays as one number, for checks and tests.

In: two arrays. Out: a ratio that is finite for silence, infinite for other shapes and NaN for NaN,
so that faults exceed every limit. It knows no limits.
"""

from __future__ import annotations

import numpy as np

from formats.weights import Array

SILENCE = 1e-12  # keeps a ratio finite


def relative_difference(measured: Array, expected: Array) -> float:
    """Largest difference as a part of the largest expected value."""
    if measured.shape != expected.shape:
        return float("inf")
    peak = max(float(np.abs(expected).max()), SILENCE)
    return float(np.abs(measured - expected).max()) / peak


def relative_noise(measured: Array, expected: Array) -> float:
    """Root mean square of the difference over that of `expected`."""
    if measured.shape != expected.shape:
        return float("inf")
    signal, noise = (float(np.square(x).mean()) for x in (expected, measured - expected))
    return float(np.sqrt(noise / max(signal, SILENCE)))
