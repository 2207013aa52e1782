"""The loop of the native engine: one call of the library makes a step of all rows.

In: an opened bundle, and requests. Out: steps, done when they are returned. A row that begins reads
its prompt in a call of its own, and then takes its first step together with the others.
"""

from __future__ import annotations

import numpy as np

from runtime.engines.native.model import NativeModel
from runtime.engines.native.sequences import Sequence, SideBySide
from runtime.engines.observing import PREFILL, WHOLE_STEP, Observer, observed
from runtime.engines.rows import Row, RowLoop, Step


class NativeRows(RowLoop):
    """See `RowLoop`."""

    def __init__(
        self,
        model: NativeModel,
        streams: int,
        room: int,
        observer: Observer | None = None,
        context: Sequence | None = None,
    ) -> None:
        """context: what the only row has read before its prompt. The loop closes it."""
        super().__init__(room, streams)
        assert context is None or room == 1
        self._model = model
        self._observer = observer
        self._context = context
        self._sequences: list[Sequence] = []  # the index is the slot
        self._memory = SideBySide(model, room)

    def remove(self, row: Row) -> None:
        super().remove(row)
        for sequence in self._sequences[len(self._slots) :]:
            sequence.close()
        del self._sequences[len(self._slots) :]

    def _advance(self, begun: list[Row]) -> list[Step]:
        for row in begun:
            self._begin(row)
        if not self._slots:
            return []
        for slot, row in enumerate(self._slots):
            row.request.random.random(out=self._memory.noise[slot], dtype=np.float32)
        with observed(self._observer, WHOLE_STEP):
            drawn = self._memory.step(len(self._slots))
        return [
            row.take(codes, stop=stop)
            for row, (codes, stop) in zip(self._slots, drawn, strict=True)
        ]

    def _begin(self, row: Row) -> None:
        """Read the prompt into a sequence, in the next slot."""
        request = row.request
        sequence = self._context or Sequence(self._model, request.positions + request.max_steps)
        with observed(self._observer, PREFILL):
            sequence.read(request.prompt)
        self._memory.place(len(self._slots), sequence, request.sampling)
        self._slots.append(row)
        self._sequences.append(sequence)

    def _move(self, source: int, target: int) -> None:
        self._sequences[target].close()
        self._sequences[target] = self._sequences.pop(source)
        self._memory.move(source, target)
