"""Many measurements become few figures, with how sure they are.

In: seconds, or pairs of seconds that were measured in turn. Out: medians, percentiles, and 95 %
bootstrap intervals of medians: the middle 95 % of the medians of samples drawn from the values with
replacement (Efron & Tibshirani 1993, chapter 13). The same values give the same interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.profiling.report import Summary

RESAMPLES = 1000
CONFIDENCE = 0.95
_VALUES_AT_ONCE = 4_000_000  # drawn, of all resamples


def summarize(values: Sequence[float] | NDArray[np.float64]) -> Summary:
    """The figures of one or more values."""
    measured = np.asarray(values, np.float64)
    low, high = median_interval(measured)
    p50, p95, p99 = np.percentile(measured, (50, 95, 99))
    return Summary(
        count=len(measured),
        mean=float(measured.mean()),
        least=float(measured.min()),
        p50=float(p50),
        p95=float(p95),
        p99=float(p99),
        low=low,
        high=high,
    )


def median_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Low and high end of the interval of the median."""
    random = np.random.default_rng(0)
    at_once = max(1, min(RESAMPLES, _VALUES_AT_ONCE // len(values)))
    medians: list[NDArray[np.float64]] = []
    for begin in range(0, RESAMPLES, at_once):
        count = min(at_once, RESAMPLES - begin)
        drawn = random.integers(0, len(values), (count, len(values)))
        medians.append(np.median(values[drawn], axis=1))
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.concatenate(medians), (tail, 100 - tail))
    return float(low), float(high)


def paired_ratio(
    baseline: Sequence[float] | NDArray[np.float64], other: Sequence[float] | NDArray[np.float64]
) -> tuple[float, float, float]:
    """Median of baseline / other over pairs that were measured one after the other, and its
    interval: what disturbs the machine for a while disturbs both of a pair."""
    ratios = np.asarray(baseline, np.float64) / np.asarray(other, np.float64)
    return float(np.median(ratios)), *median_interval(ratios)
