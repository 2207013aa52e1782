"""What listeners hear at 80 % and at 200 % of what was found, on a simulated machine."""

from __future__ import annotations

import pytest

from tests.runtime.scheduling.simulated import CAPACITY, offer

AUDIBLE_SECONDS = 0.1
SECONDS = 12.0


def test_below_what_was_found_all_hear_their_first_audio_soon() -> None:
    heard = offer(0.8 * CAPACITY.streams, SECONDS)
    assert heard.first_audio_p95 < 0.05
    assert max(heard.gaps) == 0.0
    assert heard.refused == 0


def test_newcomers_are_served_before_those_who_have_audio() -> None:
    streams = 0.8 * CAPACITY.streams
    first, later = (
        offer(streams, SECONDS, pauses_freely=pauses_freely).first_audio_p95
        for pauses_freely in (True, False)
    )
    assert first < 0.9 * later


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("slowness", [1.0, 1.4])
def test_whoever_is_let_in_has_no_gap_however_many_come(slowness: float, seed: int) -> None:
    """Also on a machine that is slower than was measured."""
    heard = offer(2.0 * CAPACITY.streams, SECONDS, seed, slowness=slowness)
    assert max(heard.gaps) < AUDIBLE_SECONDS
    assert heard.refused > 0


@pytest.mark.parametrize("share", [0.5, 0.8, 2.0])
def test_others_at_work_on_the_machine_make_no_gaps(share: float) -> None:
    """In the mean it is slower by 1.75 than was measured, so that 80 % are more than it can do."""
    heard = offer(share * CAPACITY.streams, SECONDS, 2, stalls=True)
    assert max(heard.gaps) < AUDIBLE_SECONDS
    if share < 1:
        assert heard.first_audio_p95 < 0.15
