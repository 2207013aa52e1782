"""How a system is asked to speak: what the workers of this folder have in common.

In: what loads a voice. Out: `benchmarks.cpu.serving`'s lines. The process stays on one processor,
whatever threads a library starts, so that one core is compared with one core. Needs numpy and the
standard library only, for the environments of other systems.
"""

from __future__ import annotations

import os
import time
import wave
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.cpu.serving import serve
from commands.peak_memory import peak_memory_mb


class Voice(Protocol):
    """A loaded system."""

    @property
    def sample_rate_hz(self) -> int: ...

    def stream(self, text: str, seed: int) -> Iterator[NDArray[np.float32]]:
        """Pieces of audio, each as soon as it is there; one piece if the system cannot stream."""


class Worker:
    """Speaks with one voice, and measures it."""

    def __init__(self, load: Callable[..., Voice], *arguments: str) -> None:
        self._voice = load(*arguments)

    def say(self, text: str, seed: int, path: str) -> list[float]:
        """Speak one text; `path`: where to write the audio, "" for nowhere.

        Returns seconds until the end, of the processor, until the first audio, and of audio.
        """
        pieces, first = [], 0.0
        start, start_of_work = time.perf_counter(), time.process_time()
        for piece in self._voice.stream(text, seed):
            pieces.append(piece)
            first = first or time.perf_counter() - start
        seconds = time.perf_counter() - start
        work = time.process_time() - start_of_work
        audio, rate_hz = np.concatenate(pieces), self._voice.sample_rate_hz
        if path:
            write_wav(path, audio, rate_hz)
        return [seconds, work, first, len(audio) / rate_hz]

    def memory(self) -> list[float]:
        """Peak memory so far, in MiB."""
        peak = peak_memory_mb()
        assert peak is not None, "the system says it"
        return [peak]


def serve_voice(load: Callable[..., Voice], *arguments: str) -> None:
    """Answer requests until the input ends, on the last of the processors that are allowed."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    serve(Worker, load, *arguments)


def write_wav(path: str, audio: NDArray[Any], rate_hz: int) -> None:
    """16-bit mono."""
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())
