"""The states of one graph in GPU memory, a slice for each row.

In: a graph's specification and a number of rows. Out: addresses for its calls, and copies of a
row from one place to another, put into a stream.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.bundle import names
from runtime.bundle.manifest import GraphSpec
from runtime.engines.graph import size_bytes
from runtime.engines.tensorrt.cuda import Stream
from runtime.engines.tensorrt.memory import DeviceMemory, copy_on_device


class DeviceStates:
    """One buffer for a state that works in place, else two; see `runtime.engines.graph.States`."""

    def __init__(self, spec: GraphSpec, rows: int = 1) -> None:
        tensors = {tensor.name: tensor for tensor in spec.inputs}
        self._pairs = spec.states
        self._buffers: list[list[DeviceMemory]] = []
        self._row_bytes = [size_bytes(tensors[pair.input], {names.ROWS: 1}) for pair in spec.states]
        for pair, size in zip(spec.states, self._row_bytes, strict=True):
            past = DeviceMemory(rows * size)
            self._buffers.append([past, past if pair.in_place else DeviceMemory(rows * size)])

    def addresses(self, turn: int) -> dict[str, int]:
        """Addresses by tensor name, of a call that reads buffer `turn` and writes the other."""
        found = {}
        for pair, buffers in zip(self._pairs, self._buffers, strict=True):
            found[pair.input] = buffers[turn].address
            found[pair.output] = buffers[1 - turn].address
        return found

    def clear(self, stream: Stream) -> None:
        """Zeros for all rows."""
        for past, present in self._buffers:
            past.fill_zero(stream)
            if present is not past:
                present.fill_zero(stream)

    def carry_over(self, stream: Stream) -> None:
        """Let the next call of turn 0 find the positions that the last one read.

        Caches are copied. All other states count what was drawn, and they stay as they were:
        nothing that is drawn before a prompt's end counts.
        """
        for pair, (past, present) in zip(self._pairs, self._buffers, strict=True):
            if present is not past and names.is_cache(pair.input):
                copy_on_device(past.address, present.address, past.size_bytes, stream)

    def take_row(self, slot: int, turn: int, single: DeviceStates, stream: Stream) -> None:
        """Copy what a call of turn 0 left in `single`, which has one row, to where a call at `turn`
        reads it."""
        sources = [buffers[1].address for buffers in single._buffers]
        for source, (target, size) in zip(sources, self._places(slot, turn), strict=True):
            copy_on_device(target, source, size, stream)

    def give_row(self, slot: int, turn: int, single: DeviceStates, stream: Stream) -> None:
        """Copy a row, as a call at `turn` reads it, to where `take_row` finds it."""
        targets = [buffers[1].address for buffers in single._buffers]
        for target, (source, size) in zip(targets, self._places(slot, turn), strict=True):
            copy_on_device(target, source, size, stream)

    def move(self, source: int, target: int, turn: int, stream: Stream) -> None:
        """Copy a row to another slot, as a call at `turn` reads it."""
        places = zip(self._places(source, turn), self._places(target, turn), strict=True)
        for (old, size), (new, _) in places:
            copy_on_device(new, old, size, stream)

    def _places(self, slot: int, turn: int) -> Iterator[tuple[int, int]]:
        """Address and size of a row's slice in each past buffer."""
        for buffers, size in zip(self._buffers, self._row_bytes, strict=True):
            yield buffers[turn].address + slot * size, size
