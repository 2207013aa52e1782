"""Speaks from a bundle of this project.

    PYTHON -m benchmarks.systems.bundle_worker ENGINE

In: a bundle. Out: see `speaking`. At the bundle's default voice and sampling, with one thread.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.systems.speaking import serve_voice


class BundleVoice:
    """A loaded bundle; streams within a sentence."""

    def __init__(self, engine: str) -> None:
        from runtime import TTS

        self._tts = TTS.load(engine, threads=1)
        self.sample_rate_hz = self._tts.sample_rate

    def stream(self, text: str, seed: int) -> Iterator[NDArray[np.float32]]:
        from runtime.speech.sampling import seeded

        sampling = seeded(self._tts.bundle.manifest.sampling, seed)
        for chunk in self._tts.stream(text, sampling=sampling):
            yield chunk.audio


if __name__ == "__main__":
    serve_voice(BundleVoice, *sys.argv[1:])
