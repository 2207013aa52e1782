"""What a profile makes of what was recorded: parts that add up, playback, noise, intervals."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.profiling.first_audio import BETWEEN, CODEC, PREFILL, READING, STEPS, split_first_audio
from runtime.profiling.machine import noise as noise_module
from runtime.profiling.machine.noise import Counters, NoiseMonitor, judge, read_counters
from runtime.profiling.playback import Handed, play, summarize_playback
from runtime.profiling.report import Span
from runtime.profiling.statistics import paired_ratio, summarize

STAGES = ("text", "prefill", "step", "head", "whole_step", "codec_chunk", "speaker_projection")


def span(name: str, start: float, seconds: float) -> Span:
    return Span(track="any", name=name, start=start, seconds=seconds, thread=1)


def test_first_audio_is_split_by_who_was_at_work() -> None:
    spans = [
        span("text", 0.0, 1.0),
        span("prefill", 1.5, 2.0),
        span("step", 3.5, 1.0),
        span("head", 4.5, 0.5),
        span("codec_chunk", 4.75, 2.0),  # begins in the background, and ends with the first audio
        span("whole_step", 6.75, 9.0),  # later
    ]
    found = split_first_audio(spans, 6.75)
    assert found == {READING: 1.0, PREFILL: 2.0, STEPS: 1.5, CODEC: 1.75, BETWEEN: 0.5}


@given(
    st.lists(
        st.builds(span, st.sampled_from(STAGES), st.floats(0, 20), st.floats(0, 5)), max_size=20
    ),
    st.floats(0.01, 20),
)
def test_parts_add_up(spans: list[Span], first_audio: float) -> None:
    parts = split_first_audio(spans, first_audio)
    assert all(seconds >= 0 for seconds in parts.values())
    assert sum(parts.values()) == pytest.approx(first_audio)


def test_a_player_that_runs_dry_waits() -> None:
    first, second, third = play(
        [Handed(1.0, 0.5, 4, 1), Handed(1.75, 2.0, 16, 1), Handed(2.0, 0.25, 2, 1)]
    )
    assert (first.due, first.late) == (1.0, 0.0)
    assert (second.due, second.late) == (1.5, 0.25)
    assert (third.due, third.late) == (3.75, 0.0), "the wait moves all that follows"
    playback = summarize_playback([[first, second, third], [first]])
    assert (playback.underruns, playback.longest_wait) == (1, 0.25)
    assert playback.spare is not None
    assert playback.spare.p50 == -0.25
    assert playback.gaps is not None
    assert playback.gaps.count == 2
    alone = summarize_playback([[first]])
    assert (alone.gaps, alone.spare, alone.underruns) == (None, None, 0)


def test_intervals_hold_the_median_and_narrow_with_more_values() -> None:
    random = np.random.default_rng(1)
    few, many = (summarize(random.lognormal(size=count)) for count in (20, 2000))
    for found in (few, many):
        assert found.least <= found.low <= found.p50 <= found.high <= found.p99
    assert many.high - many.low < 0.3 * (few.high - few.low)
    assert many.low < 1.0 < many.high
    one = summarize([3.0])
    assert (one.low, one.p50, one.high, one.count) == (3.0, 3.0, 3.0, 1)


def test_pairs_cancel_what_disturbs_both() -> None:
    disturbance = np.random.default_rng(0).uniform(1, 10, 30)
    ratio, low, high = paired_ratio(1.5 * disturbance, disturbance)
    assert (ratio, low, high) == pytest.approx((1.5, 1.5, 1.5))


QUIET = Counters(wall=100.0, busy=50.0, stolen=0.0, own=10.0, throttled=3, by_process={(7, "x"): 1})


def test_a_quiet_machine_has_no_warnings() -> None:
    after = Counters(110.0, busy=60.0, stolen=0.0, own=20.0, throttled=3, by_process={(7, "x"): 1})
    noise = judge(QUIET, after, slowest_clock=0.97, processors=2)
    assert noise.warnings == ()
    assert noise.others_share == pytest.approx(0.0)
    assert (noise.throttled, noise.busiest_others) == (0, ())


@pytest.mark.parametrize(
    ("after", "clock", "says"),
    [
        (
            Counters(110.0, 70.0, 0.0, 20.0, 3, {(7, "x"): 10.8, (8, "new"): 0.2}),
            1.0,
            r"took 1.0 of 2 processors, chiefly x \(process 7: 98% of a processor\): end them",
        ),
        (Counters(110.0, 60.0, 2.0, 20.0, 3), 1.0, "gave 10% of its processors' time to others"),
        (Counters(110.0, 60.0, 0.0, 20.0, 3), 0.7, "ran at 70% of its best speed"),
        (Counters(110.0, 60.0, 0.0, 20.0, 5), 1.0, "slowed itself down 2 times"),
    ],
)
def test_each_disturbance_is_named(after: Counters, clock: float, says: str) -> None:
    [warning] = judge(QUIET, after, clock, processors=2).warnings
    assert re.search(says, warning), warning


def test_without_counters_nothing_is_claimed() -> None:
    noise = judge(Counters(1.0), Counters(2.0), 1.0, processors=4)
    assert (noise.others_share, noise.stolen_share, noise.throttled) == (None, None, None)
    assert noise.warnings == ()


@pytest.mark.skipif(sys.platform != "linux", reason="counters of Linux")
def test_a_spinning_neighbour_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_module, "BUSY_PROCESS", 0.01)  # where many spin, each gets little
    command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout is not None
        neighbour.stdout.readline()
        before = read_counters()
        time.sleep(1.0)
        after = read_counters()
        neighbour.kill()
    first, last = (  # other tests may be busier
        replace(counters, by_process={key: seconds})
        for counters in (before, after)
        for key, seconds in counters.by_process.items()
        if key[0] == neighbour.pid
    )
    noise = judge(first, last, slowest_clock=1.0, processors=1)
    [warning] = [said for said in noise.warnings if "took" in said]
    assert f"process {neighbour.pid}:" in warning


def test_a_monitor_watches_until_it_is_asked() -> None:
    monitor = NoiseMonitor()
    monitor.check_clock()
    noise = monitor.finish()
    assert 0.0 < noise.slowest_clock <= 1.0
    assert noise.others_share is None or noise.others_share >= 0.0
