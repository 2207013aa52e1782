"""Speech as the bytes of a whole sound file. The same samples are the same bytes.

In: float32 [samples]. Out: a file's content.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runtime.audio.sound import to_pcm16


def encode_sound(audio: NDArray[np.float32], rate_hz: int, name: str) -> bytes:
    """name: one of `FORMATS`."""
    return FORMATS[name](audio, rate_hz)


def _wav(audio: NDArray[np.float32], rate_hz: int) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(to_pcm16(audio))
    return content.getvalue()


def _flac(audio: NDArray[np.float32], rate_hz: int) -> bytes:
    import soundfile  # native speech in WAV needs it not

    content = io.BytesIO()
    samples = np.frombuffer(to_pcm16(audio), "<i2")
    soundfile.write(content, samples, rate_hz, subtype="PCM_16", format="FLAC")
    return content.getvalue()


FORMATS: dict[str, Callable[[NDArray[np.float32], int], bytes]] = {"wav": _wav, "flac": _flac}
