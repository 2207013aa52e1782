"""Two bundles in turn: what was planted in one of them is found and named.

Runs are made up, with noise that disturbs both of a pair, so that the tests do not depend on what
else the machine does. One speaks for real, and only counts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.bundle.loading import load_bundle
from runtime.engines.opening import open_engine
from runtime.profiling.comparing import compare_runs, say_ratio
from runtime.profiling.playback import Handed, play
from runtime.profiling.report import Comparison, Span
from runtime.profiling.runs import Run, Spoken, speak_once
from runtime.profiling.spans import SpanRecorder
from runtime.speech.schedule import ChunkSchedule
from runtime.speech.synthesis import TTS
from tests.runtime.tiny_bundle import Scenario, write_bundle

RUNS, FRAMES, FRAME_SECONDS = 20, 96, 0.0125
PREFILL, STEP, CALL, FRAME = 0.004, 0.001, 0.001, 0.0002  # seconds, of a quiet machine
USUAL, SMALL = 24, 4  # frames of a chunk


def make_run(disturbance: float, *, sleep: float = 0.0, chunk: int = USUAL) -> Run:
    """Steps of a frame, and a chunk whenever its frames are there; one thing after another."""
    spans: list[Span] = []
    handed: list[Handed] = []
    clock = 0.0

    def spend(name: str, seconds: float) -> None:
        nonlocal clock
        seconds *= disturbance
        spans.append(Span(track="any", name=name, start=clock, seconds=seconds, thread=1))
        clock += seconds

    spend("prefill", PREFILL)
    for frame in range(1, FRAMES + 1):
        spend("step", STEP + sleep)
        spend("head", STEP / 2)
        if frame % chunk == 0:
            spend("codec_chunk", CALL + chunk * FRAME)
            handed.append(Handed(clock, chunk * FRAME_SECONDS, chunk, 1))
    return Run(clock, tuple(spans), tuple(play(handed)))


def compare(sleep: float = 0.0, chunk: int = USUAL) -> dict[str, Comparison]:
    random = np.random.default_rng(0)
    noise = random.lognormal(0, 0.5, RUNS)  # of the machine, for both of a pair
    own = random.lognormal(0, 0.02, RUNS), random.lognormal(0, 0.02, RUNS)
    baseline = [make_run(float(n * o)) for n, o in zip(noise, own[0], strict=True)]
    other = [
        make_run(float(n * o), sleep=sleep, chunk=chunk) for n, o in zip(noise, own[1], strict=True)
    ]
    return {found.figure: found for found in compare_runs("A", baseline, "B", other)}


def test_a_sleep_in_a_step_is_found() -> None:
    found = compare(sleep=0.002)
    assert found["step"].sentence.startswith("B: step is 2.3")
    assert "times slower" in found["step"].sentence
    assert found["first audio"].high < 1.0, "it waits for steps"
    for figure in ("prefill", "codec"):
        assert "beyond noise" in found[figure].sentence, figure
    assert "codec chunks" not in found


def test_a_smaller_chunk_schedule_is_found() -> None:
    found = compare(chunk=SMALL)
    assert found["codec chunks"].sentence == "B makes 24 codec chunks a run instead of 4."
    assert "codec is" in found["codec"].sentence
    assert "times slower" in found["codec"].sentence
    assert "times faster" in found["first audio"].sentence
    assert "beyond noise" in found["step"].sentence


def test_the_same_twice_differs_in_nothing() -> None:
    found = compare()
    assert set(found) == {"first audio", "real-time factor", "prefill", "step", "codec"}
    for comparison in found.values():
        assert "beyond noise" in comparison.sentence


def test_chunks_are_counted_as_they_are_made(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "engine", Scenario(codes_a=range(100))))
    recorder = SpanRecorder()
    tts = TTS(bundle, *open_engine(bundle, threads=1, observer=recorder))
    whole, small = ChunkSchedule(200, 1.0, 200), ChunkSchedule(2, 1.0, 2)
    runs = [[speak_once(tts, recorder, Spoken("Abc."), each, 0)] for each in (whole, small)]
    [found] = [c for c in compare_runs("A", runs[0], "B", runs[1]) if c.figure == "codec chunks"]
    calls = sum(span.name == "codec_chunk" for span in runs[1][0].spans)
    assert calls > 10
    assert found.sentence == f"B makes {calls} codec chunks a run instead of 1."


@pytest.mark.parametrize(
    ("ratios", "sentence"),
    [
        ((1.42, 1.38, 1.47), "B: step is 1.42 times faster (1.38 to 1.47)."),
        ((0.5, 0.4, 0.8), "B: step is 2.00 times slower (1.25 to 2.50)."),
        ((1.02, 0.97, 1.04), "B: step does not differ beyond noise (0.97 to 1.04)."),
        ((1.004, 1.002, 1.006), "B: step differs by less than a hundredth (1.002 to 1.006)."),
    ],
)
def test_sentences(ratios: tuple[float, float, float], sentence: str) -> None:
    assert say_ratio("step", "B", *ratios) == sentence
