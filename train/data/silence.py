"""Where the speech of a recording begins and ends.

In: audio. Out: frames. It uses loudness only: frames that are much quieter than speech are silence.
"""

from __future__ import annotations

import numpy as np

_SILENCE_BELOW_PEAK_DB = 45.0  # a frame's RMS against the recording's peak
_KEPT_BEFORE, _KEPT_AFTER = 4, 6  # frames of silence that stay: 50 and 75 ms


def find_speech(audio: np.ndarray, hop: int) -> tuple[int, int]:
    """First frame of speech and the one after the last, with a little silence around them.

    Audio float32 [T * hop] that is not silent throughout.
    """
    loudness = np.sqrt(np.square(audio.reshape(-1, hop)).mean(axis=1))
    floor = np.abs(audio).max() * 10 ** (-_SILENCE_BELOW_PEAK_DB / 20)
    heard = np.flatnonzero(loudness > floor)
    first = max(0, int(heard[0]) - _KEPT_BEFORE)
    return first, min(len(loudness), int(heard[-1]) + 1 + _KEPT_AFTER)


def trim_silence(audio: np.ndarray, hop: int) -> np.ndarray:
    """Audio float32 [n] that is not silent throughout -> its whole frames of speech."""
    audio = audio[: len(audio) // hop * hop]
    first, end = find_speech(audio, hop)
    return audio[first * hop : end * hop]
