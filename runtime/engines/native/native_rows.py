"""The loop of the native engine: one call of the library makes a step of all rows.

In: an opened bundle, and requests. Out: steps, done when they are returned. A row that begins reads
its prompt in a call of its own, or in several between steps of the others, and then takes its first
step together with them. The parts do not change a bit of what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.engines.native.model import NativeModel
from runtime.engines.native.sequences import Sequence, SideBySide
from runtime.engines.observing import PREFILL, WHOLE_STEP, Observer, observed
from runtime.engines.rows import Row, RowLoop, Step


class NativeRows(RowLoop):
    """See `RowLoop`."""

    pauses_freely = True  # a sequence has memory of its own

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
        self._sequences: dict[Row, Sequence] = {}  # of rows that have read their prompts
        self._memory = SideBySide(model, room)
        self._readers: dict[Row, _Reader] = {}  # of rows that have begun to read

    def remove(self, row: Row) -> None:
        super().remove(row)
        if reader := self._readers.pop(row, None):
            reader.sequence.close()
        if sequence := self._sequences.pop(row, None):
            sequence.close()

    def _advance(self, begun: list[Row]) -> list[Step]:
        room = self.positions_a_step or sum(row.request.positions for row in begun)
        while begun and room:
            room -= self._read(begun[0], room)
            if begun[0] not in self._readers:
                begun.pop(0)
        self._waiting = begun
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

    def _read(self, row: Row, room: int) -> int:
        """Read up to `room` positions of a row's prompt; return how many. The row gets the next
        slot if that was all."""
        request = row.request
        if row not in self._readers:
            sequence = self._context or Sequence(self._model, request.positions + request.max_steps)
            self._readers[row] = _Reader(sequence)
        reader = self._readers[row]
        part = request.prompt[:, reader.done : reader.done + room]
        with observed(self._observer, PREFILL):
            reader.sequence.read(part)
        reader.done += part.shape[1]
        if reader.done == request.positions:
            self._begin(row, self._readers.pop(row).sequence)
        return part.shape[1]

    def _begin(self, row: Row, sequence: Sequence) -> None:
        self._memory.place(len(self._slots), sequence, row.request.sampling)
        self._slots.append(row)
        self._sequences[row] = sequence

    def _move(self, source: int, target: int) -> None:
        self._memory.move(source, target)

    def _park(self, row: Row, slot: int) -> Sequence:
        return self._sequences[row]

    def _unpark(self, row: Row, slot: int, parked: Sequence) -> None:
        self._memory.place(slot, parked, row.request.sampling)


@dataclass
class _Reader:
    """A prompt that is being read. done: positions."""

    sequence: Sequence
    done: int = 0
