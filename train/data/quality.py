"""Scores of recordings by DNSMOS (arXiv 2110.01763): predicted mean opinion scores from 1 to 5.

In: audio float32 [n]. Out: scores, or a filter for recordings that uses one of them. The model
comes with the package speechmos and takes audio at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import numpy as np

from commands.errors import UserError
from commands.extras import install_command
from runtime.audio.sound import Sound

DNSMOS_RATE_HZ = 16_000
DNSMOS_KEYS = {"ovrl": "ovrl_mos", "sig": "sig_mos", "bak": "bak_mos", "p808": "p808_mos"}


def dnsmos_version() -> str:
    """The scoring package with its version. Raises `UserError` without speechmos."""
    try:
        return f"speechmos {version('speechmos')}"
    except PackageNotFoundError:
        raise UserError(f"DNSMOS needs speechmos; {install_command('evaluate')}") from None


def score_dnsmos(audio: np.ndarray) -> dict[str, float]:
    """Scores "ovrl" (overall), "sig" (speech), "bak" (background) and "p808" (ITU-T P.808).

    Audio float32 [n] at `DNSMOS_RATE_HZ`. Raises `UserError` without speechmos.
    """
    loudest = max(1.0, float(np.abs(audio).max()))
    scores = _speechmos().run(audio / loudest, sr=DNSMOS_RATE_HZ)
    return {name: float(scores[key]) for name, key in DNSMOS_KEYS.items()}


def _speechmos() -> ModuleType:
    try:
        from speechmos import dnsmos
    except ImportError as error:
        raise UserError(f"DNSMOS needs {error.name}; {install_command('evaluate')}") from None
    return dnsmos


def make_dnsmos_filter(minimum: float) -> Callable[[Sound], str | None]:
    """A function that returns why a recording is refused, or None."""

    def refuse(sound: Sound) -> str | None:
        score = score_dnsmos(sound.at_rate(DNSMOS_RATE_HZ))["ovrl"]
        return f"DNSMOS {score:.2f} is below {minimum:g}" if score < minimum else None

    return refuse
