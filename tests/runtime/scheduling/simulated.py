"""A simulated machine under the real scheduler: its clock stands still but for what is paid for.

In: what steps, prompts and the codec cost, and listeners who arrive at random. Out: when each heard
their first audio, and their longest gap. Nothing depends on how busy this machine is. The numbers
are of the demo voice (native engine, two cores).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from runtime.bundle import names
from runtime.bundle.manifest import CodecSpec, SamplingDefaults
from runtime.engines.calls import Finished
from runtime.engines.rows import Request, Row, RowLoop, Step
from runtime.scheduling import scheduler as scheduler_module
from runtime.scheduling import speech as speech_module
from runtime.scheduling import turns as turns_module
from runtime.scheduling.capacity import Capacity
from runtime.scheduling.limits import Overloaded
from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.speech import Order, Speech
from runtime.speech.codec import CodecDecoder
from runtime.speech.schedule import soon_heard
from runtime.speech.spoken import Chunk

STEP_SECONDS = {1: 0.49e-3, 4: 0.54e-3, 8: 1.1e-3, 16: 1.65e-3, 32: 3.3e-3, 64: 6.8e-3}
PROMPT_SECONDS, PROMPT_POSITIONS = 6e-3, 56
CALL_SECONDS = 0.6e-3  # of the codec, beside those for its frames
AUDIO_CALL_SECONDS = 11e-3  # for a second of audio
TURN_SECONDS, ROW_SECONDS = 0.3e-3, 8e-6  # of Python
PAUSE_SAMPLES = 3200
SPEC = CodecSpec(
    streams=(1024, 1024, 1024),
    sample_rate_hz=16_000,
    hop_samples=200,
    speaker_channels=4,
    delay_frames=14,
)
CODES, AUDIO_A_STEP = 6, 0.025  # two frames
CAPACITY = Capacity(
    step_seconds=STEP_SECONDS,
    audio_a_step=AUDIO_A_STEP,
    codec_seconds=AUDIO_CALL_SECONDS + 2.5 * CALL_SECONDS,
    prompt_seconds=PROMPT_SECONDS,
    prompt_positions=PROMPT_POSITIONS,
    most=64,
)


class Machine:
    """now: seconds. slowness: by which everything takes longer than was measured. stalls: a quarter
    of the time, in spells of a tenth of a second, it is four times as slow as that: others are at
    work on it."""

    def __init__(self, slowness: float, *, stalls: bool) -> None:
        self.now = 1000.0
        self._slowness, self._stalls = slowness, stalls
        self._random = np.random.default_rng(5)
        self._spell, self._until = 1.0, 0.0

    def work(self, seconds: float) -> None:
        if self._stalls and self.now > self._until:
            self._spell = 1.0 if self._random.random() < 0.75 else 4.0
            self._until = self.now + float(self._random.exponential(0.1))
        self.now += self._slowness * self._spell * seconds


class Rows(RowLoop):
    """Rows whose codes are all zero and which end after their steps."""

    def __init__(self, machine: Machine, room: int, *, pauses_freely: bool) -> None:
        super().__init__(room, len(SPEC.streams))
        self._machine = machine
        self.pauses_freely = pauses_freely
        self._read: dict[Row, int] = {}  # positions

    def _advance(self, begun: list[Row]) -> list[Step]:
        room = self.positions_a_step or 0
        while begun and room > 0:
            row = begun[0]
            part = min(row.request.positions - self._read.get(row, 0), room)
            room -= part
            self._read[row] = self._read.get(row, 0) + part
            self._machine.work(PROMPT_SECONDS * part / PROMPT_POSITIONS)
            if self._read[row] == row.request.positions:
                self._slots.append(begun.pop(0))
        self._waiting = begun
        if self._slots:
            self._machine.work(CAPACITY.step_time(len(self._slots)))
        return [row.take([0] * CODES, stop=False) for row in self._slots]

    def _move(self, source: int, target: int) -> None:
        pass

    def _park(self, row: Row, slot: int) -> None:
        pass

    def _unpark(self, row: Row, slot: int, parked: None) -> None:
        pass


class Codec:
    """A graph that keeps its states, of which there are none."""

    spec: Any = None

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        raise AssertionError(inputs)

    def open_calls(self) -> Codec:
        return self

    def start(self, inputs: Mapping[str, Any], dimensions: Mapping[str, int]) -> Finished:
        seconds = dimensions[names.FRAMES] / SPEC.frames_per_second
        self._machine.work(CALL_SECONDS + AUDIO_CALL_SECONDS * seconds)
        return Finished({names.AUDIO: np.zeros((1, dimensions[names.SAMPLES]), np.float32)})


@dataclass
class Listener:
    """audio, gap: seconds."""

    speech: Speech
    arrived: float
    first: float | None = None
    audio: float = 0.0
    gap: float = 0.0

    def listen(self, now: float) -> None:
        while (chunk := self.speech.take()) is not None:
            self.first = now if self.first is None else self.first
            self.gap = max(self.gap, now - self.first - self.audio)
            self.audio += len(chunk.audio) / chunk.sample_rate


@dataclass(frozen=True)
class Outcome:
    """first_audio, gaps: seconds, of those who heard all."""

    first_audio: list[float]
    gaps: list[float]
    refused: int

    @property
    def first_audio_p95(self) -> float:
        return float(np.percentile(self.first_audio, 95))


def offer(
    streams: float,
    seconds: float,
    seed: int = 1,
    *,
    slowness: float = 1.0,
    stalls: bool = False,
    pauses_freely: bool = True,
) -> Outcome:
    """So many listeners at a time in the mean, arriving at random for so long."""
    random = np.random.default_rng(seed)
    texts = [_text(random) for _ in range(500)]
    mean = np.mean([sum(steps for _, steps in text) * AUDIO_A_STEP for text in texts])
    count = int(seconds * streams / mean)
    moments = 1000.0 + np.cumsum(random.exponential(mean / streams, count))
    machine, refused = Machine(slowness, stalls=stalls), 0
    listeners: list[Listener] = []
    with _simulated(machine) as scheduler:
        loop = Rows(machine, scheduler.limits.rows, pauses_freely=pauses_freely)
        loop.positions_a_step = scheduler.limits.prompt_positions
        left = [*moments]
        while left or not all(listener.speech.is_over for listener in listeners):
            while left and left[0] <= machine.now:
                task: Any = SimpleNamespace(
                    sentences=texts[len(left) % len(texts)],
                    speaker=np.zeros(SPEC.speaker_channels, np.float32),
                )
                try:
                    speech = scheduler.submit(Order(task, soon_heard(SPEC), 60.0))
                    listeners.append(Listener(speech, left[0]))
                except Overloaded:
                    refused += 1
                left.pop(0)
            if scheduler._can_work():
                machine.work(TURN_SECONDS + ROW_SECONDS * len(scheduler._live))
                scheduler._take_turn(loop)
            else:
                assert left, "somebody waits, and nothing is done for them"
                machine.now = left[0]
            for listener in listeners:
                listener.listen(machine.now)
    heard = [(each.first - each.arrived, each.gap) for each in listeners if each.first is not None]
    assert len(heard) == len(listeners)
    return Outcome([first for first, _ in heard], [gap for _, gap in heard], refused)


def _text(random: np.random.Generator) -> list[tuple[int, int]]:
    """Positions and steps of each sentence, of 3 to 40 words in all."""
    words = round(float(np.exp(random.uniform(*np.log((3, 40))))))
    text = []
    while words > 0:
        part = min(words, int(random.integers(5, 12)))
        words -= part
        text.append((10 + 5 * part, round((0.2 + 0.3 * part) / AUDIO_A_STEP)))
    return text


@contextmanager
def _simulated(machine: Machine) -> Iterator[Scheduler]:
    """A scheduler whose engine's thread is the caller."""
    sampling = SamplingDefaults(
        do_sample=False, temperature=1.0, top_k=1, top_p=1.0, repetition_penalty=1.0
    )

    def request(task: Any, index: int) -> Request:
        positions, steps = task.sentences[index]
        prompt = np.zeros((1, positions, 1), np.float32)
        return Request(prompt, sampling, np.random.default_rng(0), steps)

    def pause(sentence: int, sentences: int) -> Chunk:
        silence, none = np.zeros(PAUSE_SAMPLES, np.float32), np.zeros((0, 3), np.int64)
        return Chunk(silence, SPEC.sample_rate_hz, none, True, sentence, sentences)

    codec = CodecDecoder(Codec(machine), SPEC)
    manifest = SimpleNamespace(codec=SPEC, frames_per_step=CODES // len(SPEC.streams))
    tts: Any = SimpleNamespace(
        bundle=SimpleNamespace(manifest=manifest), codec=codec, request=request, pause=pause
    )
    clock = SimpleNamespace(monotonic=lambda: machine.now)
    with (
        mock.patch.object(scheduler_module, "time", clock),
        mock.patch.object(speech_module, "time", clock),
        mock.patch.object(turns_module, "time", clock),
        mock.patch.object(Scheduler, "_run"),
    ):
        yield Scheduler(tts, CAPACITY.limits())
