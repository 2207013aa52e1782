"""Many listeners at once: each hears what it would hear alone, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.engines.rows import RowLoop
from runtime.scheduling.limits import Load, Overloaded, SchedulerLimits, ShuttingDown
from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.speech import Order, Speech, SpeechFailed, State
from runtime.speech.codec import DecoderStream
from runtime.speech.sampling import Sampling
from runtime.speech.schedule import ChunkSchedule
from runtime.speech.spoken import Chunk
from runtime.speech.synthesis import TTS
from tests.runtime.tiny_bundle import Scenario, write_bundle

SCHEDULE = ChunkSchedule(2, 2.0, 16)
TEXTS = ("Abc.", "Abc. Abcd. Ab.", "A.", "Abcdef abc. Abc!")


@pytest.fixture(scope="module")
def tts(tmp_path_factory: pytest.TempPathFactory) -> TTS:
    folder: Path = tmp_path_factory.mktemp("scheduled") / "engine"
    return TTS.load(write_bundle(folder, Scenario(codes_a=range(40))), threads=1)


def order(tts: TTS, text: str = "Abc.", **more: Any) -> Order:
    return Order(tts.prepare(text, sampling=Sampling(seed=1)), SCHEDULE, **more)


def hear(speech: Speech) -> list[Chunk]:
    return [*speech]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.001)


def test_each_hears_what_it_would_hear_alone(tts: TTS) -> None:
    alone = [[*tts.stream(text, schedule=SCHEDULE, sampling=Sampling(seed=1))] for text in TEXTS]
    with Scheduler(tts, SchedulerLimits(rows=3, waiting=100)) as scheduler:
        speeches = [scheduler.submit(order(tts, text)) for _ in range(4) for text in TEXTS]
        heard = [[*speech] for speech in speeches]
    for number, chunks in enumerate(heard):
        expected = alone[number % len(TEXTS)]
        assert len(chunks[0].audio) == len(expected[0].audio), "each has a schedule of its own"
        for what in ("audio", "frames"):
            ours, theirs = (
                np.concatenate([getattr(c, what) for c in each]) for each in (chunks, expected)
            )
            np.testing.assert_array_equal(ours, theirs)
        assert [chunk.sentence for chunk in chunks] == sorted(chunk.sentence for chunk in chunks)
    assert {speech.state for speech in speeches} == {State.DONE}
    assert all(speech.is_over for speech in speeches)


def test_a_full_queue_refuses_and_says_when_to_come_again(tts: TTS, held: threading.Event) -> None:
    with Scheduler(tts, SchedulerLimits(rows=1, waiting=2)) as scheduler:
        first = scheduler.submit(order(tts))
        until(lambda: first.state is State.SPEAKING)
        others = [scheduler.submit(order(tts)) for _ in range(2)]
        assert scheduler.load() == Load(waiting=2, speaking=1, rows=1)
        with pytest.raises(Overloaded) as refused:
            scheduler.submit(order(tts))
        assert refused.value.retry_after_seconds >= 1
        held.set()
        for speech in (first, *others):
            assert len([*speech])
        [*scheduler.submit(order(tts))]
        until(lambda: scheduler.load() == Load(0, 0, 1))


@pytest.mark.parametrize("when", ["waiting", "stepping", "sending"])
def test_cancelling_ends_the_work_at_once(tts: TTS, held: threading.Event, when: str) -> None:
    with Scheduler(tts, SchedulerLimits(rows=1)) as scheduler:
        other = scheduler.submit(order(tts, TEXTS[1])) if when == "waiting" else None
        speech = scheduler.submit(order(tts, TEXTS[1]))
        if when == "sending":
            held.set()
            assert speech.take(wait=True) is not None
        else:
            until(lambda: (other or speech).state is State.SPEAKING)
        speech.cancel()
        held.set()
        until(lambda: speech.state.is_end)
        if speech.state is not State.DONE:  # it may have been quicker
            assert speech.state is State.CANCELLED
            with pytest.raises(SpeechFailed, match="the listener has left"):
                hear(speech)
        assert other is None or len([*other])
        until(lambda: scheduler.load() == Load(0, 0, 1))
        assert len([*scheduler.submit(order(tts))]), "the row is free again"


def test_who_waits_too_long_is_told(tts: TTS, held: threading.Event) -> None:
    with Scheduler(tts, SchedulerLimits(rows=1)) as scheduler:
        first = scheduler.submit(order(tts))
        until(lambda: first.state is State.SPEAKING)
        speech = scheduler.submit(order(tts, deadline_seconds=0.01))
        time.sleep(0.02)
        held.set()
        with pytest.raises(SpeechFailed, match=r"it waited for 0.01 s"):
            hear(speech)
        assert speech.state is State.EXPIRED
        assert len([*first])


def test_a_listener_who_takes_nothing_is_bounded_and_given_up(tts: TTS) -> None:
    hop = tts.bundle.manifest.codec.hop_samples / tts.sample_rate
    limits = SchedulerLimits(rows=1, held_seconds=6 * hop, slow_seconds=0.2)
    with Scheduler(tts, limits) as scheduler:
        speech = scheduler.submit(order(tts, " ".join(["Abcdef abc."] * 20)))
        until(lambda: speech.state.is_end)
        assert speech.state is State.CANCELLED
        assert speech.audio_seconds < 6 * hop + 32 * hop, "no more than a chunk beyond the limit"
        until(lambda: scheduler.load() == Load(0, 0, 1))
        assert len([*scheduler.submit(order(tts))])


def test_a_failing_engine_fails_its_rows_and_works_again(
    tts: TTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = RowLoop.step
    with Scheduler(tts, SchedulerLimits(rows=2)) as scheduler:
        monkeypatch.setattr(RowLoop, "step", lambda loop: 1 / 0)
        speech = scheduler.submit(order(tts))
        with pytest.raises(SpeechFailed, match="the engine failed: division by zero"):
            hear(speech)
        monkeypatch.setattr(RowLoop, "step", step)
        assert len([*scheduler.submit(order(tts))])


def test_a_failing_stream_fails_alone(tts: TTS, monkeypatch: pytest.MonkeyPatch) -> None:
    next_inputs = DecoderStream.next_inputs
    failing: list[DecoderStream] = []

    def fails(stream: DecoderStream, count: int) -> Any:
        if not failing:
            failing.append(stream)
        if stream in failing:
            raise ValueError("no such codec")
        return next_inputs(stream, count)

    with Scheduler(tts, SchedulerLimits(rows=2)) as scheduler:
        monkeypatch.setattr(DecoderStream, "next_inputs", fails)
        speeches = [scheduler.submit(order(tts)) for _ in range(2)]
        ends = []
        for speech in speeches:
            try:
                ends.append(len([*speech]) > 0)
            except SpeechFailed:
                ends.append(False)
    assert sorted(ends) == [False, True]


def test_draining_lets_the_rest_be_said(tts: TTS) -> None:
    scheduler = Scheduler(tts, SchedulerLimits(rows=1))
    speeches = [scheduler.submit(order(tts, TEXTS[1])) for _ in range(3)]
    scheduler.close(drain_seconds=10)
    assert {speech.state for speech in speeches} == {State.DONE}
    assert all(len([*speech]) for speech in speeches)
    with pytest.raises(ShuttingDown):
        scheduler.submit(order(tts))


def test_closing_at_once_tells_everyone(tts: TTS, held: threading.Event) -> None:
    scheduler = Scheduler(tts, SchedulerLimits(rows=1))
    speeches: list[Speech] = [scheduler.submit(order(tts, TEXTS[1])) for _ in range(3)]
    threading.Timer(0.05, held.set).start()
    scheduler.close()
    for speech in speeches:
        assert speech.state.is_end
        if speech.state is not State.DONE:
            with pytest.raises(SpeechFailed):
                hear(speech)


def test_seeds_are_each_ones_own(tts: TTS) -> None:
    assert tts.bundle.manifest.sampling.do_sample
    orders = [
        Order(tts.prepare("Abc.", sampling=Sampling(seed=seed)), SCHEDULE) for seed in (1, 2, 1)
    ]
    with Scheduler(tts, SchedulerLimits(rows=3)) as scheduler:
        first, second, third = ([*each] for each in [*map(scheduler.submit, orders)])
    for ours, theirs in zip(first, third, strict=True):
        np.testing.assert_array_equal(ours.audio, theirs.audio)
    del second


def test_listeners_are_told_of_every_change(tts: TTS) -> None:
    told = threading.Event()
    with Scheduler(tts, SchedulerLimits(rows=1)) as scheduler:
        speech = scheduler.submit(order(tts))
        speech.on_change(told.set)
        heard = 0
        while not speech.is_over:
            assert told.wait(60)
            told.clear()
            while speech.take() is not None:
                heard += 1
    assert heard > 1


def test_an_engine_without_rows_fails_those_who_wait_and_is_asked_again(
    tts: TTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Scheduler(tts, SchedulerLimits(rows=2)) as scheduler:
        with monkeypatch.context() as broken:
            broken.setattr(tts.decoder, "_open", lambda rows: 1 / 0)
            with pytest.raises(SpeechFailed, match="the engine failed: division by zero"):
                hear(scheduler.submit(order(tts)))
        assert len([*scheduler.submit(order(tts))])


def test_a_listener_that_cannot_be_told_has_left_and_harms_nobody(
    tts: TTS, held: threading.Event
) -> None:
    def gone() -> None:
        if threading.current_thread().name == "engine":
            raise RuntimeError("Event loop is closed")

    with Scheduler(tts, SchedulerLimits(rows=2)) as scheduler:
        left, other = (scheduler.submit(order(tts, TEXTS[1])) for _ in range(2))
        left.on_change(gone)
        held.set()
        assert len([*other])
        until(lambda: left.state is State.CANCELLED)


def test_free_rows_take_a_burst_that_is_longer_than_the_queue(
    tts: TTS, held: threading.Event
) -> None:
    with Scheduler(tts, SchedulerLimits(rows=4, waiting=1)) as scheduler:
        speeches = [scheduler.submit(order(tts)) for _ in range(5)]
        with pytest.raises(Overloaded):
            scheduler.submit(order(tts))
        held.set()
        assert all(len([*speech]) for speech in speeches)


def test_what_follows_is_not_refused_and_comes_first(tts: TTS, held: threading.Event) -> None:
    with Scheduler(tts, SchedulerLimits(rows=1, waiting=1)) as scheduler:
        first = scheduler.submit(order(tts))
        until(lambda: first.state is State.SPEAKING)
        other = scheduler.submit(order(tts))
        following = [scheduler.submit(order(tts, follows=True)) for _ in range(2)]
        with pytest.raises(Overloaded):
            scheduler.submit(order(tts))
        held.set()
        for speech in (first, *following, other):
            assert len([*speech])
        begins = [speech.began or 0.0 for speech in (first, *following, other)]
        assert begins == sorted(begins)
        scheduler.close()
        with pytest.raises(ShuttingDown):
            scheduler.submit(order(tts, follows=True))


def test_a_task_goes_on_where_others_of_its_text_ended(tts: TTS) -> None:
    whole = tts.prepare("Abc. Abcd.", sampling=Sampling(seed=1))
    rest = replace(tts.prepare("Abcd.", sampling=Sampling(seed=1)), first=1)
    numbers = [
        tts.request(task, index).random.random(3).tolist()
        for task, index in ((whole, 1), (rest, 0), (rest, 0))
    ]
    assert numbers[0] == numbers[1] == numbers[2]
