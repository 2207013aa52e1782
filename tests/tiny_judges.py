"""Judges that answer at once, for tests of what is done with their answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation import jury, recognisers, speaker_similarity

HEARD = "they know it"
SCORES = {"ovrl": 3.0, "sig": 3.2, "bak": 3.4, "p808": 3.6}


class Parrot:
    """Hears `HEARD` whatever is said, and counts how often any parrot is asked."""

    name: str
    version = "parrot 1"
    asked = 0

    def __init__(self, threads: int = 1) -> None:
        pass

    def transcribe(self, audio: NDArray[np.float32]) -> str:
        Parrot.asked += 1
        return HEARD


def use_tiny_judges(monkeypatch: pytest.MonkeyPatch, *names: str) -> type[Parrot]:
    """Put parrots in the place of these recognisers, constants in that of DNSMOS, and the loudness
    in that of the speaker network."""
    monkeypatch.setattr(Parrot, "asked", 0)
    for name in names:
        parrot = type(name, (Parrot,), {"name": name})
        monkeypatch.setitem(recognisers.RECOGNISERS, name, parrot)
    monkeypatch.setattr(jury, "score_dnsmos", lambda audio: SCORES)
    monkeypatch.setattr(speaker_similarity.SpeakerEncoder, "embed", lambda self, audio: loud(audio))
    return Parrot


def loud(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """A vector of length 1 that depends on the loudest sample."""
    vector = np.array([1.0, float(np.abs(audio).max())], np.float32)
    return vector / np.linalg.norm(vector)
