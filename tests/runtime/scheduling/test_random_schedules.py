"""Listeners who come, leave and dawdle at random: each hears bit for bit what it would alone.

On the tiny bundle of the native engine, whose prompts are read in parts.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.engines.native.sequences import Sequence
from runtime.engines.native.speech import SpeechCalls
from runtime.scheduling.scheduler import Load, Scheduler, SchedulerLimits
from runtime.scheduling.speech import Order, Speech, SpeechFailed, State
from runtime.speech.sampling import Sampling
from runtime.speech.schedule import ChunkSchedule
from runtime.speech.synthesis import TTS
from tests.random_rows import WORDS

SPEECHES = 40
LIMITS = SchedulerLimits(rows=4, waiting=SPEECHES, held_seconds=0.05, prompt_positions=5)


@pytest.fixture(scope="module")
def tts(tiny_native_engine: Path) -> TTS:
    return TTS.load(tiny_native_engine, threads=1)


def make_order(tts: TTS, random: np.random.Generator) -> Order:
    sentences = [
        " ".join(random.choice(WORDS, random.integers(1, 8)).tolist()).capitalize() + "."
        for _ in range(random.integers(1, 4))
    ]
    voice = str(random.choice(tts.voices))
    sampling = Sampling(seed=int(random.integers(1000)))
    task = tts.prepare(" ".join(sentences), voice, sampling, max_steps=int(random.integers(2, 20)))
    return Order(task, ChunkSchedule(int(random.integers(1, 5)), 2.0, 16))


def alone(tts: TTS, order: Order) -> NDArray[np.float32]:
    chunks = tts._speak(order.task, order.schedule, is_awaited=True)
    return np.concatenate([chunk.audio for chunk in chunks])


class Listener(threading.Thread):
    """pause: seconds before each chunk. leaves_after: so many chunks, if ever."""

    def __init__(self, speech: Speech, pause: float, leaves_after: int | None) -> None:
        super().__init__()
        self.speech, self.pause, self.leaves_after = speech, pause, leaves_after
        self.heard: list[NDArray[np.float32]] = []

    def run(self) -> None:
        try:
            if self.leaves_after == 0:
                self.speech.cancel()
            for chunk in self.speech:
                time.sleep(self.pause)
                self.heard.append(chunk.audio)
                if len(self.heard) == self.leaves_after:
                    self.speech.cancel()
        except SpeechFailed:
            assert self.speech.state is State.CANCELLED


@pytest.mark.parametrize("seed", range(3))
def test_random_schedules_sound_as_alone_and_leave_nothing(tts: TTS, seed: int) -> None:
    random = np.random.default_rng(seed)
    orders = [make_order(tts, random) for _ in range(SPEECHES)]
    expected = [alone(tts, order) for order in orders]
    with Scheduler(tts, LIMITS) as scheduler:
        listeners = []
        for order in orders:
            leaves_after = int(random.integers(3)) if random.random() < 0.3 else None
            pause = 0.01 if random.random() < 0.2 else 0.0
            listeners.append(Listener(scheduler.submit(order), pause, leaves_after))
            listeners[-1].start()
            time.sleep(float(random.exponential(0.002)))
        for listener in listeners:
            listener.join(60)
        until(lambda: scheduler.load() == Load(0, 0, LIMITS.rows))
    ends = {listener.speech.state for listener in listeners}
    assert ends == {State.DONE, State.CANCELLED}
    for listener, whole in zip(listeners, expected, strict=True):
        heard = np.concatenate([np.zeros(0, np.float32), *listener.heard])
        np.testing.assert_array_equal(heard, whole[: len(heard)])
        if listener.speech.state is State.DONE:
            assert len(heard) == len(whole)


def test_nothing_of_the_library_is_left(tts: TTS, alive: Callable[[], int]) -> None:
    before = alive()
    with Scheduler(tts, LIMITS) as scheduler:
        random = np.random.default_rng(9)
        speeches = [scheduler.submit(make_order(tts, random)) for _ in range(12)]
        for speech in speeches[::2]:
            speech.cancel()
        for speech in speeches[1::2]:
            assert len([*speech])
        until(lambda: scheduler.load().speaking == 0)
        until(lambda: alive() == before)


@pytest.fixture
def alive() -> Callable[[], int]:
    """How many sequences and speeches of the library there are."""

    def count() -> int:
        gc.collect()
        kinds = map(type, gc.get_objects())  # `isinstance` would ask proxies of what is gone
        return sum(issubclass(kind, Sequence | SpeechCalls) for kind in kinds)

    return count


def test_an_idle_scheduler_takes_no_time(tts: TTS) -> None:
    with Scheduler(tts, LIMITS) as scheduler:
        [*scheduler.submit(make_order(tts, np.random.default_rng(1)))]
        until(lambda: scheduler.load().speaking == 0)
        assert scheduler._thread.ident is not None  # its own time: others of the process may work
        clock = time.pthread_getcpuclockid(scheduler._thread.ident)
        start = time.clock_gettime(clock)
        time.sleep(0.5)
        assert time.clock_gettime(clock) - start < 0.02


def test_prompts_in_parts_let_others_step_between(tts: TTS) -> None:
    random = np.random.default_rng(2)
    first, second = (make_order(tts, random).task for _ in range(2))
    with tts.decoder.open_rows(2) as loop:
        loop.positions_a_step = 3
        early = loop.add(tts.request(first, 0))
        while early not in {step.row for step in loop.step()}:
            pass
        late = loop.add(tts.request(second, 0))
        reads = 0
        while late.steps == 0 and not early.ended:
            loop.step()
            reads += 1
        assert early.steps > 1, "it went on while the other's prompt was read"
        assert reads == -(-late.request.positions // 3) or early.ended


def test_a_row_that_leaves_while_its_prompt_is_read(tts: TTS, alive: Callable[[], int]) -> None:
    task = make_order(tts, np.random.default_rng(3)).task
    before = alive()
    with tts.decoder.open_rows(1) as loop:
        loop.positions_a_step = 1
        row = loop.add(tts.request(task, 0))
        assert loop.step() == []
        loop.remove(row)
        assert loop.rows == []
        assert alive() == before
        assert loop.add(tts.request(task, 0)) in loop.rows, "its place is free"


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.002)
