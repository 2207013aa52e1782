"""The interface by which the graphs of every subject run on given utterances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from calibration.measurement.utterances import EmbeddedUtterance
from export.graph.runner import Arrays
from formats.weights import Array

Watch = Callable[[Arrays], None]  # gets the watched values of one call of a graph, by name


class Follow(Protocol):
    """Loaded graphs that run on one utterance after another."""

    def __call__(self, utterance: EmbeddedUtterance, watch: Watch | None = None) -> Array:
        """The graphs' result for the utterance, float32: scores or audio.

        watch: called with the values that the graphs were loaded to watch.
        """


@dataclass(frozen=True)
class Loading:
    """Where graphs are written to and how they are loaded.

    utterances: all that the graphs will run on, and must have room for.
    """

    folder: Path
    utterances: Sequence[EmbeddedUtterance]
    threads: int
