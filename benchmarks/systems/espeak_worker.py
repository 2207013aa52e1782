"""Speaks with eSpeak NG, whose library espeakng-loader carries: the floor, rules and formants.

In: text, as `speaking` takes it; no arguments. Out: its audio in one piece. It needs
espeakng-loader and numpy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.systems.speaking import serve_voice

SYNCHRONOUS, UTF8 = 2, 1  # of speak_lib.h
BUFFER_MS = 200
LOUDEST = 32768.0

CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class EspeakVoice:
    """The library's default voice."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.sample_rate_hz = self._library.espeak_Initialize(SYNCHRONOUS, BUFFER_MS, data, 0)
        assert self.sample_rate_hz > 0, "the data lies in the package"
        self._pieces: list[NDArray[np.float32]] = []
        self._callback = CALLBACK(self._take)  # the library keeps only its address
        self._library.espeak_SetSynthCallback(self._callback)

    def stream(self, text: str, seed: int) -> Iterator[NDArray[np.float32]]:
        self._pieces.clear()
        spoken = text.encode()
        failed = self._library.espeak_Synth(
            spoken, ctypes.c_size_t(len(spoken) + 1), 0, 0, 0, UTF8, None, None
        )
        assert failed == 0, failed
        yield np.concatenate(self._pieces)

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if count > 0:
            piece = np.ctypeslib.as_array(samples, (count,))
            self._pieces.append(piece.astype(np.float32) / LOUDEST)
        return 0


if __name__ == "__main__":
    serve_voice(EspeakVoice)
