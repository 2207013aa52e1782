"""A loaded machine: fewer texts at a time, and shorter chunks where little is left to play."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from runtime.engines.rows import RowLoop, Step
from runtime.scheduling.limits import SchedulerLimits
from runtime.scheduling.live_speech import LiveSpeech
from runtime.scheduling.pace import Pace
from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.speech import Order, Speech, State
from runtime.speech.sampling import Sampling
from runtime.speech.schedule import ChunkSchedule
from runtime.speech.spoken import Chunk
from runtime.speech.synthesis import TTS
from tests.runtime.tiny_bundle import Scenario, write_bundle

SCHEDULE = ChunkSchedule(2, 2.0, 16)


@pytest.fixture(scope="module")
def tts(tmp_path_factory: pytest.TempPathFactory) -> TTS:
    folder: Path = tmp_path_factory.mktemp("pressed") / "engine"
    return TTS.load(write_bundle(folder, Scenario(codes_a=range(40))), threads=1)


def order(tts: TTS, text: str = "Abc.") -> Order:
    return Order(tts.prepare(text, sampling=Sampling(seed=1)), SCHEDULE)


def test_a_full_machine_begins_a_text_when_another_has_ended(
    tts: TTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer than there are rows, because two streams would not stay in real time."""
    together: set[int] = set()
    all_are_there = threading.Event()
    step = RowLoop.step

    def noted(loop: RowLoop) -> list[Step]:
        assert all_are_there.wait(60)
        together.add(len(loop.rows))
        return step(loop)

    monkeypatch.setattr(RowLoop, "step", noted)
    for loads, most in (((0.5, 5.0, 9.0), 1), ((0.1, 0.2, 0.3), 3)):
        together.clear()
        all_are_there.clear()
        with Scheduler(tts, SchedulerLimits(rows=3)) as scheduler:
            scheduler._turns.pace = Pace(loads, audio_a_turn=1.0)
            speeches = [scheduler.submit(order(tts, "Abcdef abc.")) for _ in range(3)]
            all_are_there.set()
            assert all(len([*speech]) for speech in speeches)
        assert max(together) == most


def test_who_takes_nothing_takes_no_steps_and_goes_on_as_if_nothing_had_been(tts: TTS) -> None:
    hop_seconds = tts.bundle.manifest.codec.hop_samples / tts.sample_rate
    alone = np.concatenate([chunk.audio for chunk in tts_stream(tts)])
    limits = SchedulerLimits(rows=2, held_seconds=4 * hop_seconds)
    with Scheduler(tts, limits) as scheduler:
        slow = scheduler.submit(order(tts))
        while slow.held_seconds < limits.held_seconds:
            time.sleep(0.001)
        others = [scheduler.submit(order(tts)) for _ in range(3)]
        heard = [np.concatenate([chunk.audio for chunk in other]) for other in others]
        live = next(live for live in scheduler._live if live.speech is slow)
        assert live.row is not None
        assert live.row.steps < 40, "the model would go on"
        steps = live.row.steps
        time.sleep(0.05)
        assert live.row.steps == steps
        heard.append(np.concatenate([chunk.audio for chunk in slow]))
    for audio in heard:
        np.testing.assert_array_equal(audio, alone)


def tts_stream(tts: TTS) -> list[Chunk]:
    return [*tts.stream("Abc.", schedule=SCHEDULE, sampling=Sampling(seed=1))]


def test_who_has_little_left_gets_a_shorter_chunk(tts: TTS) -> None:
    speech = Speech(1, order(tts, "Abcdef abc."), lambda: None)
    live = LiveSpeech(tts, speech)
    with tts.decoder.open_rows(1) as loop:
        live.row = loop.add(live.begin_sentence())
        while not live.has_work:
            live.take(*loop.step())
        live.make_chunk()
        for _ in range(SCHEDULE.first_frames):  # a frame each
            live.take(*loop.step())
        assert not live.has_work, "the next chunk is to be twice as long"
        speech.audio_seconds += 10
        live.hurry(time.monotonic())
        assert not live.has_work, "there is no haste"
        speech.audio_seconds -= 10
        live.hurry(time.monotonic())
        assert live.has_work
        live.make_chunk()
        while live.row:
            live.take(*loop.step())
        while not live.is_done:
            live.make_chunk()
    speech.end(State.DONE)
    chunks = [*speech]
    assert [len(chunk.frames) for chunk in chunks[:2]] == [2, 2]
    whole = tts.synthesize("Abcdef abc.", sampling=Sampling(seed=1))
    np.testing.assert_array_equal(np.concatenate([chunk.audio for chunk in chunks]), whole.audio)


def test_a_player_that_ran_dry_goes_on_with_the_next_chunk(tts: TTS) -> None:
    chunk = tts.pause(1, 1)
    seconds = len(chunk.audio) / chunk.sample_rate
    speech = Speech(1, order(tts), lambda: None)
    assert speech.spare_seconds(time.monotonic()) == 0.0
    speech.put(chunk)
    began = speech.first_audio
    assert began is not None
    assert speech.spare_seconds(began + 3.0) == pytest.approx(seconds - 3.0)
    time.sleep(seconds + 0.05)
    before = time.monotonic()
    speech.put(chunk)
    after = time.monotonic()
    spare = speech.spare_seconds(after)
    assert before + seconds <= after + spare + 1e-6
    assert spare <= seconds + 1e-6
    assert speech.first_audio == began
