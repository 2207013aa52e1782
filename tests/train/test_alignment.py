"""Paths against all paths, priors against their formula, and how errors are counted."""

from __future__ import annotations

import itertools
from math import exp, lgamma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.alignment.paths import (
    compare_durations,
    find_durations,
    find_speech_range,
    format_errors,
    log_diagonal_prior,
    log_silence_prior,
    spread_evenly,
)


def best_by_trying_all(log_probs: np.ndarray) -> list[int]:
    """Durations of the best of all monotonic paths through [T, N]."""
    frames, symbols = log_probs.shape

    def score(ends: tuple[int, ...]) -> float:
        bounds = [0, *ends, frames]
        return sum(
            log_probs[first:last, symbol].sum()
            for symbol, (first, last) in enumerate(itertools.pairwise(bounds))
        )

    best = max(itertools.combinations(range(1, frames), symbols - 1), key=score)
    return np.diff([0, *best, frames]).tolist()


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_paths_are_the_best_of_all(sizes: list[tuple[int, int]], seed: int) -> None:
    """In a padded batch, whatever stands in the padding."""
    symbols = [count for count, _ in sizes]
    frames = [count + more for count, more in sizes]
    rng = np.random.default_rng(seed)
    log_probs = rng.standard_normal((len(sizes), max(frames), max(symbols)))
    for row, found in enumerate(find_durations(log_probs, frames, symbols)):
        expected = best_by_trying_all(log_probs[row, : frames[row], : symbols[row]])
        assert found.tolist() == expected


def test_paths_need_a_frame_for_each_symbol() -> None:
    with pytest.raises(AssertionError, match="fewer frames"):
        find_durations(np.zeros((1, 3, 4)), [3], [4])


@given(st.integers(3, 30), st.integers(0, 60), st.data())
def test_the_range_of_speech_leaves_room(symbols: int, more: int, data: st.DataObject) -> None:
    frames = symbols + more
    levels = st.lists(st.floats(-12, 3), min_size=frames, max_size=frames)
    first, last = find_speech_range(np.array(data.draw(levels)), symbols)
    assert first >= 1
    assert last <= frames - 1
    assert last - first >= symbols - 2
    durations = spread_evenly(frames, symbols, (first, last))
    assert durations.sum() == frames
    assert len(durations) == symbols
    assert (durations >= 1).all()


def test_a_click_is_no_speech() -> None:
    loudness = np.full(40, -11.0)
    loudness[1:3] = 0.0
    loudness[12:31] = -2.0
    assert find_speech_range(loudness, 5) == (12, 31)


def beta_binomial(k: int, n: int, a: float, b: float) -> float:
    def log_beta(x: float, y: float) -> float:
        return lgamma(x) + lgamma(y) - lgamma(x + y)

    log_choices = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return exp(log_choices + log_beta(k + a, n - k + b) - log_beta(a, b))


def test_the_diagonal_prior_is_beta_binomial() -> None:
    first, last, frames, symbols = 4, 17, 22, 9
    probabilities = np.exp(log_diagonal_prior(frames, symbols, (first, last)))[:, 1:-1]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    for step in range(1, last - first + 1):
        expected = [beta_binomial(k, 6, step, last - first + 1 - step) for k in range(7)]
        np.testing.assert_allclose(probabilities[first + step - 1], expected, rtol=1e-5)
    np.testing.assert_array_equal(probabilities[:first], probabilities[[first] * first])


def test_silence_is_kept_out_of_speech() -> None:
    prior = log_silence_prior(7, 4, (2, 5))
    np.testing.assert_array_equal(prior[:, 0], [0, 0, -1, -2, -3, -4, -5])
    np.testing.assert_array_equal(prior[:, 1], [-2, -1, 0, 0, 0, -1, -2])
    np.testing.assert_array_equal(prior[:, 2], prior[:, 1])
    np.testing.assert_array_equal(prior[:, 3], [-5, -4, -3, -2, -1, 0, 0])


def test_errors_are_of_boundaries_in_milliseconds() -> None:
    found = [np.array([2, 4, 4]), np.array([3, 2])]  # boundaries 2, 6 and 3
    errors = compare_durations(found, [(4, 4, 2), (9, 2)], frame_ms=12.5)
    assert errors.boundaries == 3
    assert errors.lag_ms == -25.0  # of -25, -25 and -75
    assert errors.mean_ms == pytest.approx(125 / 3)
    assert (errors.within_25, errors.within_50) == pytest.approx((2 / 3, 2 / 3))
    assert errors.mean_ms_without_lag == pytest.approx(50 / 3)
    assert (errors.within_25_without_lag, errors.within_50_without_lag) == pytest.approx((2 / 3, 1))
    table = format_errors({"learned": errors}).splitlines()
    assert len(table) == 3
    assert {line.count("|") for line in table} == {10}
    assert "-25.0 ms" in table[2]
