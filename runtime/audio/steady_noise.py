"""Steady noise around speech: sound that stays at one level for a while; words and pauses do not.

In: the levels of a recording's frames, and its audio. Out: the level of the noise, if there is one.
A vowel of quiet speech also stays at one level, but it repeats with the voice's period.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.audio.noise import is_voiced

FRAME_SECONDS = 0.01
# White noise changes by 0.6 dB, pink noise by 1.2, speech by over 2.
STEADY_FRAMES, STEADY_DB = 15, 1.5
# Vowels and hisses are steady as well, but only nearer than this to the loudest speech. Steadiness
# that lasts for `LASTING_FRAMES`, or lies at an end of the recording, is noise up to
# `LEAST_BELOW_DB` from the loudest speech.
STEADY_BELOW_DB = 20.0
LASTING_FRAMES, END_FRAMES = 25, 3
LEAST_BELOW_DB = 12.0
QUIET_SPEECH_DB = 10.0  # sound so far above the quietest is no hum if it repeats as vowels do
SAME_DB = 3.0  # windows of one noise differ by less
DIGITAL_SILENCE_DB = 80.0  # sound so far below the loudest speech is no background

Levels = NDArray[np.float64]


def find_steady_level(
    levels: Levels, loud_db: float, quiet_db: float, audio: NDArray[np.float32], rate_hz: int
) -> float | None:
    """The level in dB of the loudest steady noise.

    levels: of each frame of `FRAME_SECONDS`; loud_db, quiet_db: of the loudest speech and the
    quietest tenth; audio: float32 [samples].
    """
    hop = round(FRAME_SECONDS * rate_hz)
    windows = _find_steady(levels, loud_db)
    noise = (
        level
        for first, level in windows
        if level < quiet_db + QUIET_SPEECH_DB
        or not is_voiced(audio[first * hop :][: STEADY_FRAMES * hop], rate_hz)
    )
    loudest = next(noise, None)
    if loudest is None:
        return None
    return float(np.median([level for _, level in windows if 0 <= loudest - level < SAME_DB]))


def _find_steady(levels: Levels, loud_db: float) -> list[tuple[int, float]]:
    """Where the level stays the same for `STEADY_FRAMES`, below speech.

    Returns first frames and levels, the loudest first.
    """
    if len(levels) < STEADY_FRAMES:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(levels, STEADY_FRAMES)
    means, steady = windows.mean(axis=1), windows.std(axis=1) < STEADY_DB
    highest_db = loud_db - np.where(_goes_on(steady), LEAST_BELOW_DB, STEADY_BELOW_DB)
    found = np.flatnonzero(steady & (means > loud_db - DIGITAL_SILENCE_DB) & (means < highest_db))
    return [(int(first), float(means[first])) for first in found[np.argsort(-means[found])]]


def _goes_on(steady: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which steady windows belong to a stretch at one end of the recording, or to a lasting one."""
    goes_on = np.zeros_like(steady)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], steady, [False]]).astype(np.int8)))
    for first, end in edges.reshape(-1, 2):
        is_at_an_end = first < END_FRAMES or end > len(steady) - END_FRAMES
        goes_on[first:end] = is_at_an_end or end - first >= LASTING_FRAMES
    return goes_on
