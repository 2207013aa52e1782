"""Measures one bundle, on request: what `benchmarks.cpu.contestants` starts for each of them.

    python -m benchmarks.cpu.bundle_worker ENGINE THREADS

In: requests of `benchmarks.cpu.serving`: {"measure": "step", "context": 256, "count": 20}. Out:
seconds. It loads the bundle as `runtime.tts` does.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from benchmarks.cpu.serving import serve
from commands.peak_memory import peak_memory_mb
from runtime.engines.native.graphs import NativeGraph
from runtime.engines.rows import Request
from runtime.speech.codec import DecoderStream
from runtime.speech.sampling import Sampling, seeded
from runtime.speech.schedule import ChunkSchedule
from runtime.speech.synthesis import TTS

GREEDY = Sampling(do_sample=False)


class Worker:
    """A loaded bundle. Every method is a measurement and returns seconds."""

    def __init__(self, engine: str, threads: int) -> None:
        self._tts = TTS.load(engine, threads=threads)
        self._manifest = self._tts.bundle.manifest
        self._random = np.random.default_rng(0)
        self._voice: Any = None
        if not self._manifest.voices:
            channels = self._manifest.codec.speaker_channels
            self._voice = self._random.standard_normal(channels).astype(np.float32)

    def step(self, context: int, count: int, rows: int = 1) -> list[float]:
        """Each of `count` steps after a prompt of `context` positions, all rows together."""
        times: list[float] = []
        while len(times) < count:
            with self._tts.decoder.open_rows(rows) as loop:
                for _ in range(rows):
                    loop.add(self._request(context, count + 1))
                loop.step()
                while len(loop.rows) == rows and len(times) < count:
                    start = time.perf_counter()
                    loop.step()
                    times.append(time.perf_counter() - start)
        return times

    def prefill(self, positions: int, count: int) -> list[float]:
        """The first step of a prompt, which reads it."""
        times = []
        for _ in range(count):
            with self._tts.decoder.open_rows(1) as loop:
                loop.add(self._request(positions, 1))
                start = time.perf_counter()
                loop.step()
                times.append(time.perf_counter() - start)
        return times

    def codec(self, seconds: float, chunk: int, count: int) -> list[float]:
        """Seconds for each second of audio. chunk: frames; 0 for the whole at once."""
        spec = self._manifest.codec
        frames = round(seconds * spec.frames_per_second)
        codes = np.stack([self._random.integers(0, size, frames) for size in spec.streams], axis=1)
        speaker = self._tts.speaker(self._voice)
        schedule = ChunkSchedule(chunk or frames, 1.0, chunk or frames)
        times = []
        for _ in range(count):
            stream = DecoderStream(self._tts.codec, speaker, schedule)
            start = time.perf_counter()
            stream.add(codes)
            samples = sum(len(part.audio) for part in (*stream.ready(), *stream.finish()))
            times.append((time.perf_counter() - start) * spec.sample_rate_hz / samples)
        return times

    def speak(self, text: str, max_steps: int, count: int) -> list[float]:
        """Real-time factor and first audio, in turn."""
        figures = []
        for seed in range(count):
            samples, first = 0, 0.0
            sampling = seeded(self._manifest.sampling, seed)
            start = time.perf_counter()
            for chunk in self._tts.stream(
                text, voice=self._voice, sampling=sampling, max_steps=max_steps or None
            ):
                samples += len(chunk.audio)
                first = first or time.perf_counter() - start
            elapsed = time.perf_counter() - start
            figures += [elapsed * self._tts.sample_rate / samples, first]
        return figures

    def memory(self) -> list[float]:
        """Peak memory so far, in MiB."""
        return [peak_memory_mb() or 0.0]

    def weight_bytes(self) -> list[float]:
        """Bytes of a native bundle's weights that a step reads."""
        assert isinstance(self._tts.backbone, NativeGraph)
        return [float(self._tts.backbone.model.facts.step_bytes)]

    def _request(self, positions: int, max_steps: int) -> Request:
        width = self._manifest.language_model.hidden_size
        prompt = self._random.standard_normal((1, positions, width)).astype(np.float32)
        settings = GREEDY.resolve(self._manifest.sampling)
        return Request(0.02 * prompt, settings, np.random.default_rng(0), max_steps)


def main() -> None:
    """Serve until the input ends."""
    engine, threads = sys.argv[1:]
    serve(Worker, engine, int(threads))


if __name__ == "__main__":
    main()
