"""Where the speech of a recording begins and ends.

In: audio. Out: frames. Only loudness counts: frames that are much quieter than the loudest sample
are silence.
"""

from __future__ import annotations

import numpy as np

_SILENCE_BELOW_PEAK_DB = 45.0  # a frame's RMS against the recording's peak
_SECONDS_BEFORE, _SECONDS_AFTER = 0.05, 0.075  # of silence that stay


def find_speech(audio: np.ndarray, hop_samples: int, rate_hz: int) -> tuple[int, int]:
    """First frame of speech and the one after the last, with a little silence around them.

    Audio float32 [T * hop_samples] that is not silent throughout.
    """
    before, after = (round(s * rate_hz / hop_samples) for s in (_SECONDS_BEFORE, _SECONDS_AFTER))
    loudness = np.sqrt(np.square(audio.reshape(-1, hop_samples)).mean(axis=1))
    floor = np.abs(audio).max() * 10 ** (-_SILENCE_BELOW_PEAK_DB / 20)
    heard = np.flatnonzero(loudness > floor)
    first = max(0, int(heard[0]) - before)
    return first, min(len(loudness), int(heard[-1]) + 1 + after)


def trim_silence(audio: np.ndarray, hop_samples: int, rate_hz: int) -> np.ndarray:
    """Audio float32 [n] that is not silent throughout -> its whole frames of speech."""
    audio = audio[: len(audio) // hop_samples * hop_samples]
    first, end = find_speech(audio, hop_samples, rate_hz)
    return audio[first * hop_samples : end * hop_samples]
