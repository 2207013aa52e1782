"""Two bundles in turn: what was planted in one of them is found and named."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runtime.bundle.loading import load_bundle
from runtime.engines.observing import STEP, ObservedCall
from runtime.engines.opening import open_engine
from runtime.profiling.comparing import compare_runs, say_ratio
from runtime.profiling.report import Comparison
from runtime.profiling.runs import Run, Spoken, speak_once
from runtime.profiling.spans import SpanRecorder
from runtime.speech.schedule import ChunkSchedule
from runtime.speech.synthesis import TTS
from tests.runtime.tiny_bundle import Scenario, write_bundle

RUNS = 8
WHOLE, SMALL = ChunkSchedule(40, 1.0, 40), ChunkSchedule(2, 1.0, 2)


class Voice:
    """A loaded bundle with a recorder of its own."""

    def __init__(self, folder: Path, schedule: ChunkSchedule) -> None:
        bundle = load_bundle(folder)
        self.recorder = SpanRecorder()
        self.tts = TTS(bundle, *open_engine(bundle, threads=1, observer=self.recorder))
        self.schedule = schedule

    def speak(self, seed: int) -> Run:
        return speak_once(self.tts, self.recorder, Spoken("Abc."), self.schedule, seed)


def compare(baseline: Voice, other: Voice) -> dict[str, Comparison]:
    pairs = [(baseline.speak(seed), other.speak(seed)) for seed in range(RUNS + 1)][1:]
    first, second = zip(*pairs, strict=True)
    return {found.figure: found for found in compare_runs("A", first, "B", second)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("profiled") / "engine"
    return write_bundle(folder, Scenario(codes_a=range(100)))


def test_a_sleep_in_a_step_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow = Voice(folder, WHOLE), Voice(folder, WHOLE)
    run = ObservedCall.run

    def sleepy(call: ObservedCall, turn: int) -> None:
        if call._stage != STEP or call._observer is not slow.recorder:
            run(call, turn)
            return
        start = time.perf_counter()
        time.sleep(0.002)
        call._call.run(turn)
        slow.recorder.note(STEP, time.perf_counter() - start)

    monkeypatch.setattr(ObservedCall, "run", sleepy)
    found = compare(quick, slow)
    assert found["step"].high < 0.5
    assert "step is" in found["step"].sentence
    assert "times slower" in found["step"].sentence
    assert found["first audio"].high < 1.0, "it waits for steps"
    assert "codec chunks" not in found


def test_a_smaller_chunk_schedule_is_found(folder: Path) -> None:
    found = compare(Voice(folder, WHOLE), Voice(folder, SMALL))
    chunks = found["codec chunks"].sentence
    assert chunks.startswith("B makes ")
    assert "codec chunks a run instead of 1." in chunks
    assert found["codec"].high < 1.0
    assert "codec is" in found["codec"].sentence
    assert "slower" in found["codec"].sentence


def test_the_same_twice_differs_in_no_count(folder: Path) -> None:
    found = compare(Voice(folder, WHOLE), Voice(folder, WHOLE))
    assert "codec chunks" not in found
    assert "seconds of audio" not in found


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
