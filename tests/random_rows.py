"""Texts that are spoken side by side, and join, pause and leave at random: for tests of rows.

In: a decoder and requests. Out: what each row brought, side by side with others or by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime import TTS, Sampling
from runtime.engines.rows import Request, Row
from runtime.speech.decoding import SpeechDecoder

WORDS = ("the", "rain", "fell", "softly", "and", "old", "birds", "sang", "in", "a", "garden")
JOIN, LEAVE = 0.4, 0.01  # probabilities, of each free place or live row in a step
PAUSE, RESUME = 0.04, 0.4  # of each live row in a step


@dataclass
class Spoken:
    """What a row brought until it ended or left: frames, and how many steps it took."""

    frames: list[list[int]] = field(default_factory=list)
    steps: int = 0
    stop: bool = False


@dataclass(frozen=True)
class Asked:
    """A request that can be made again, with the same noise."""

    text: str
    sampling: Sampling
    max_steps: int
    speaker: NDArray[np.float32]
    tts: TTS

    def request(self, max_steps: int | None = None) -> Request:
        read = self.tts.prompts.read(self.text)
        return Request(
            self.tts.prompts.embed(read, self.speaker),
            self.sampling.resolve(self.tts.bundle.manifest.sampling),
            self.sampling.random_generator(0),
            self.max_steps if max_steps is None else max_steps,
        )


def random_requests(tts: TTS, count: int, seed: int) -> list[Asked]:
    """Texts, voices, settings and bounds that differ from row to row; some are greedy."""
    random = np.random.default_rng(seed)
    asked = []
    for number in range(count):
        text = " ".join(random.choice(WORDS, random.integers(1, 7)).tolist()) + "."
        penalty = float(random.choice([1.0, 1.2]))
        sampling = Sampling(
            seed=number,
            temperature=float(random.uniform(0.3, 1.5)),
            top_k=int(random.integers(2, 80)),
            top_p=float(random.uniform(0.5, 1.0)),
            repetition_penalty=penalty,
        )
        if number % 4 == 0:
            sampling = Sampling(do_sample=False, repetition_penalty=penalty)
        channels = tts.bundle.manifest.codec.speaker_channels
        speaker = random.standard_normal(channels, np.float32)
        asked.append(Asked(text, sampling, int(random.integers(1, 90)), speaker, tts))
    return asked


def speak_together(
    decoder: SpeechDecoder, asked: Sequence[Asked], room: int, steps: int, seed: int
) -> list[Spoken]:
    """Let rows join, pause and leave at random for so many steps; empty for those that never
    joined."""
    random = np.random.default_rng(seed + 1)
    spoken = [Spoken() for _ in asked]
    numbers: dict[Row, int] = {}
    with decoder.open_rows(room) as loop:
        for _ in range(steps):
            while len(loop.rows) < room and len(numbers) < len(asked) and random.random() < JOIN:
                numbers[loop.add(asked[len(numbers)].request())] = len(numbers)
            for step in loop.step():
                one = spoken[numbers[step.row]]
                one.frames += step.frames.tolist()
                one.steps += 1
                one.stop = step.stop
            for row in loop.rows:
                if random.random() < LEAVE:
                    loop.remove(row)
                elif random.random() < RESUME:
                    loop.resume(row)
                elif random.random() < PAUSE:
                    loop.pause(row)
    return spoken


def speak_alone(decoder: SpeechDecoder, asked: Asked, steps: int) -> Spoken:
    """The same request by itself, for so many steps."""
    spoken = Spoken()
    for step in decoder.steps(asked.request(min(steps, asked.max_steps))):
        spoken.frames += step.frames.tolist()
        spoken.steps += 1
        spoken.stop = step.stop
    return spoken
