"""Speech as the bytes of a whole sound file. The same samples are the same bytes.

In: float32 [samples]. Out: a file's content.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from runtime.audio.sound import to_pcm16
from runtime.serving.encoding import encode_whole


def encode_sound(audio: NDArray[np.float32], rate_hz: int, name: str) -> bytes:
    """name: of `runtime.batching.choices.FORMATS`. MP3 and Opus need PyAV, FLAC soundfile."""
    return _flac(audio, rate_hz) if name == "flac" else encode_whole(name, [audio], rate_hz)


def _flac(audio: NDArray[np.float32], rate_hz: int) -> bytes:
    """By libsndfile, whose files say how long they are; a stream's do not."""
    import soundfile  # native speech in WAV needs it not

    content = io.BytesIO()
    samples = np.frombuffer(to_pcm16(audio), "<i2")
    soundfile.write(content, samples, rate_hz, subtype="PCM_16", format="FLAC")
    return content.getvalue()


def require_format(name: str) -> None:
    """Import what a format needs, so that a missing package is told before the work."""
    if name == "flac":
        import soundfile  # noqa: F401 (whether it is there)
    elif name != "wav":
        import av  # noqa: F401 (whether it is there)
