"""What listeners ask for, and when: mixed texts and voices, at random moments.

In: a source of randomness. Out: `Ask`s, and moments of a Poisson process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SENTENCES = Path(__file__).parents[2] / "samples" / "evaluation" / "everyday.txt"


@dataclass(frozen=True)
class Ask:
    """voice: None is the default one. seed: None lets each time differ."""

    text: str
    voice: str | None
    seed: int | None = None


def mixed_asks(
    random: np.random.Generator, count: int, voices: Sequence[str], words: tuple[int, int]
) -> list[Ask]:
    """Texts of so many words, short ones as often as long ones on a scale of doublings, each with
    one of the voices and a seed."""
    asks = []
    for _ in range(count):
        length = round(float(np.exp(random.uniform(*np.log(words)))))
        voice = str(random.choice(list(voices))) if voices else None
        asks.append(Ask(make_text(random, length), voice, int(random.integers(2**31))))
    return asks


def mean_words(words: tuple[int, int]) -> float:
    """Of the texts that `mixed_asks` makes."""
    least, most = words
    return float((most - least) / np.log(most / least)) if most > least else float(least)


def make_text(random: np.random.Generator, words: int) -> str:
    """Everyday sentences, the last one cut."""
    sentences = SENTENCES.read_text("utf-8").splitlines()
    text: list[str] = []
    while len(text) < words:
        text += sentences[random.integers(len(sentences))].split()
    return " ".join(text[:words]).rstrip(".,;:!?") + "."


def arrivals(random: np.random.Generator, rate: float, seconds: float) -> list[float]:
    """Moments of a Poisson process with `rate` arrivals a second, in the first `seconds`."""
    moments = np.cumsum(random.exponential(1 / rate, max(16, int(4 * rate * seconds))))
    return [float(moment) for moment in moments if moment < seconds]
