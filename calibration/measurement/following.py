"""How models are led through given utterances: what every subject's graphs are run by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from calibration.measurement.utterances import EmbeddedUtterance
from export.graph.runner import Arrays
from formats.weights import Array

Watch = Callable[[Arrays], None]  # takes in watched values, by name, of one call of a graph


class Follow(Protocol):
    """Graphs that are loaded and led through one utterance after another."""

    def __call__(self, utterance: EmbeddedUtterance, watch: Watch | None = None) -> Array:
        """What the graphs make of the utterance, float32: scores or audio.

        watch: called with the values that the graphs were loaded to watch.
        """


@dataclass(frozen=True)
class Loading:
    """Where graphs are written to and how they are loaded.

    utterances: those that the graphs will be led through, and must have room for.
    """

    folder: Path
    utterances: Sequence[EmbeddedUtterance]
    threads: int
