"""Speaks with hibari-tts, whose voice "heart" is in its package.

In: text, as `speaking` takes it; no arguments. Out: one piece of audio for each sentence. It
needs hibari-tts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.systems.speaking import serve_voice


class HibariVoice:
    """A loaded voice, with one thread."""

    def __init__(self) -> None:
        from hibari import Hibari

        self._hibari = Hibari(threads=1)
        self.sample_rate_hz = int(self._hibari.sample_rate)

    def stream(self, text: str, seed: int) -> Iterator[NDArray[np.float32]]:
        yield from self._hibari.stream(text, seed=seed)


if __name__ == "__main__":
    serve_voice(HibariVoice)
