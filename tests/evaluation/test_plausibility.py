"""Lengths that speech can have, and words that are said twice."""

from __future__ import annotations

import pytest

from evaluation.plausibility import has_plausible_length, repeats_itself


@pytest.mark.parametrize(
    ("reading", "too_short", "right", "too_long"),
    [
        ("Hi.", 0.05, (0.2, 0.5, 0.8), 1.2),
        ("banana", 0.1, (0.4, 0.9), 1.8),
        ("She has a P H D.", 0.5, (0.9, 2.0), 4.0),
        ("The train to the coast leaves in twenty minutes.", 1.0, (2.0, 3.0), 7.0),
    ],
)
def test_lengths(reading: str, too_short: float, right: tuple[float, ...], too_long: float) -> None:
    assert all(has_plausible_length(reading, seconds) for seconds in right)
    assert not has_plausible_length(reading, too_short)
    assert not has_plausible_length(reading, too_long)


@pytest.mark.parametrize(
    ("reading", "heard", "repeats"),
    [
        ("banana", "Banana, banana, banana.", True),
        ("banana", "Banana.", False),
        ("We sang over and over again.", "We sang over and over again", False),
        ("We sang over again.", "We sang over over again.", True),
        ("The old house was sold.", "The old house, the old house was sold.", True),
        ("No, no, never!", "No, no, never!", False),
        ("Well, it works.", "", False),
    ],
)
def test_repetitions(reading: str, heard: str, repeats: bool) -> None:
    assert repeats_itself(reading, heard) is repeats
