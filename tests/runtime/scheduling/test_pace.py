"""Pace: one more stream is let in while all stay in real time, by measure and by what happens."""

from __future__ import annotations

import pytest

from runtime.scheduling.pace import FULL, Pace

AUDIO = 0.05  # seconds a turn


def turns(pace: Pace, streams: int, seconds: float, count: int = 200) -> None:
    for _ in range(count):
        pace.note(streams, seconds)


def test_without_loads_it_is_never_full() -> None:
    pace = Pace((), AUDIO)
    turns(pace, 3, 9.0)
    assert not pace.is_full(1000)


def test_it_is_full_by_what_was_measured() -> None:
    pace = Pace((0.3, 0.5, 0.7, 0.95), AUDIO)
    assert [pace.is_full(streams) for streams in (1, 2, 3, 4)] == [False, False, False, True]
    assert Pace((0.3, 0.5), AUDIO).is_full(4), "0.25 a stream, by the last one that is known"


def test_it_is_busy_before_it_is_full() -> None:
    pace = Pace((0.1, 0.3, 0.5, 0.95), AUDIO)
    assert [pace.is_busy(streams) for streams in (1, 2, 3, 4)] == [False, False, True, True]
    assert not pace.is_full(3)
    assert not Pace((), AUDIO).is_busy(1000)


def test_one_stream_is_always_let_in() -> None:
    pace = Pace((1.5, 3.0), AUDIO)
    turns(pace, 1, 1.0)
    assert not pace.is_full(1)
    assert pace.is_full(2)


def test_slow_turns_count_until_they_are_over() -> None:
    loads = (0.3, 0.5, 0.7)
    pace = Pace(loads, AUDIO)
    turns(pace, 2, 2 * loads[1] * AUDIO)
    assert pace.slowdown == pytest.approx(2.0, rel=0.01)
    assert pace.is_full(2)
    turns(pace, 1, loads[0] * AUDIO, count=500)
    assert pace.slowdown == pytest.approx(1.0, abs=0.05)
    assert not pace.is_full(3)


def test_quick_turns_promise_nothing() -> None:
    pace = Pace((0.5, FULL + 0.01), AUDIO)
    turns(pace, 1, 0.001)
    assert pace.slowdown == 1.0
    assert pace.is_full(2)


def test_one_prompt_is_no_slowdown_and_prompts_for_long_are() -> None:
    loads = (0.1, 0.2, 0.3, 0.4)
    pace = Pace(loads, AUDIO)
    pace.note(0, 0.1)
    assert pace.slowdown == pytest.approx(1.1, abs=0.02)
    assert not pace.is_full(4)
    for _ in range(100):
        pace.note(0, 0.1)
    assert pace.is_full(2)
