"""Capacity: what is measured is arithmetic's input, and limits follow from it."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from commands.errors import UserError
from runtime.scheduling.capacity import MARGIN, SECONDS, STALL_SECONDS, Capacity, measure_capacity
from runtime.speech.synthesis import TTS
from tests.runtime.tiny_bundle import ROWS, Scenario, write_bundle

KNOWN = Capacity(
    step_seconds={1: 0.010, 4: 0.016, 8: 0.020},
    audio_a_step=0.05,
    codec_seconds=0.02,
    prompt_seconds=0.06,
    prompt_positions=30,
    most=16,
)


def test_steps_that_were_not_measured_are_between_two_or_in_proportion() -> None:
    assert KNOWN.step_time(4) == 0.016
    assert KNOWN.step_time(2) == pytest.approx(0.012)
    assert KNOWN.step_time(16) == pytest.approx(0.040)


def test_streams_fill_the_margin_and_no_more() -> None:
    assert KNOWN.load(4) == pytest.approx(0.016 / 0.05 + 4 * (0.02 + 0.06 / 3))
    assert KNOWN.load(KNOWN.streams) <= MARGIN < KNOWN.load(KNOWN.streams + 1)
    assert replace(KNOWN, most=3).streams == 3


def test_an_engine_that_is_too_slow_speaks_to_one_and_says_so() -> None:
    slow = replace(KNOWN, codec_seconds=0.9)
    assert slow.streams == 1
    assert "not safely in real time: one stream takes 112% of it" in slow.describe()


def test_limits_follow() -> None:
    limits = KNOWN.limits()
    assert limits.rows == limits.waiting == KNOWN.streams
    assert limits.loads == tuple(KNOWN.load(count) for count in range(1, KNOWN.streams + 1))
    assert limits.prompt_positions == math.floor(STALL_SECONDS / 0.002)
    assert (KNOWN.limits(2).rows, KNOWN.limits(2).waiting) == (2, 4)
    assert KNOWN.limits(waiting=1).waiting == 1
    with pytest.raises(UserError, match="17 streams at a time; this engine takes 1 to 16"):
        KNOWN.limits(17)
    assert f"capacity: {KNOWN.streams} streams in real time" in KNOWN.describe()


def test_an_engine_is_measured_in_the_time_allowed(tmp_path: Path) -> None:
    engine = write_bundle(tmp_path / "engine", Scenario(codes_a=range(200)))
    tts = TTS.load(engine, threads=1)
    start = time.monotonic()
    found = measure_capacity(tts)
    assert time.monotonic() - start < 2 * SECONDS
    assert found.most == ROWS
    assert 1 <= found.streams <= ROWS
    assert {1, 2} <= set(found.step_seconds) <= set(range(1, ROWS + 1))
    assert all(seconds > 0 for seconds in (*found.step_seconds.values(), found.codec_seconds))
    assert list(measure_capacity(tts, seconds=0.0).step_seconds) == [1]


def test_a_model_that_stops_at_once_still_has_steps(tmp_path: Path) -> None:
    """Rows join again for each number of rows; one that stops at its first step has none."""
    engine = write_bundle(tmp_path / "engine", Scenario(codes_a=()))
    with pytest.raises(UserError, match="the model stops at its first step"):
        measure_capacity(TTS.load(engine, threads=1))
