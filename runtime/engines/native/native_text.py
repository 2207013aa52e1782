"""A text that is written in a sequence of the native library.

In: an opened bundle with a text head, and embeddings. Out: tokens, and a loop that goes on with
speech in the same sequence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.manifest import SamplingDefaults
from runtime.bundle.names import BACKBONE, TEXT_HEAD
from runtime.engines.graph import Graph
from runtime.engines.native.model import NativeModel
from runtime.engines.native.native_rows import NativeRows
from runtime.engines.native.sequences import Sequence
from runtime.engines.observing import Observer, observed, stage_of
from runtime.engines.rows import RowLoop


class NativeText:
    """See `runtime.engines.texts.Text`."""

    def __init__(
        self,
        model: NativeModel,
        prompt: NDArray[np.float32],
        sampling: SamplingDefaults,
        capacity: int,
        observer: Observer | None,
    ) -> None:
        self._model, self._sampling, self._observer = model, sampling, observer
        self._sequence = Sequence(model, capacity)
        self.length = 0
        self.read(prompt)

    def draw(self, random: np.random.Generator) -> int:
        noise = random.random(dtype=np.float32)
        with observed(self._observer, stage_of(TEXT_HEAD)):
            return self._sequence.write(self._sampling, float(noise))

    def read(self, embeddings: NDArray[np.float32]) -> None:
        with observed(self._observer, stage_of(BACKBONE, embeddings.shape[1])):
            self._sequence.read(embeddings)
        self.length += embeddings.shape[1]

    def continue_rows(self, head: Graph, streams: int) -> RowLoop:
        return NativeRows(self._model, streams, 1, self._observer, context=self._sequence)
