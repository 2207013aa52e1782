"""What an engine must provide: graphs whose tensors live in memory that the caller owns.

In: a graph's specification from the manifest. Out: buffers of the right shape, and the interface
that every engine implements. It does not know any engine, or what a graph computes.

The first axis of every tensor is the row, so the state of one row is one contiguous slice of a
buffer, and the first n rows are one contiguous slice too. On the CPU a loop binds each graph once
to such slices and then only calls `Call.run()`: the output buffer of one graph is the input buffer
of the next one, and nothing is allocated or copied in between. An engine with its own memory keeps
the loop there (`LoopingGraph`), or lets calls go on in the background (`runtime.engines.calls`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.bundle import names
from runtime.bundle.manifest import GraphSpec, TensorSpec, numpy_type
from runtime.engines.rows import RowLoop

Array = NDArray[Any]
ALL_ROWS = slice(None)
OpenRows = Callable[[int], RowLoop]  # opens a loop with room for so many rows


class States:
    """The tensors that one call of a graph leaves and its next call takes, at first all zeros.

    A pair that works in place has one buffer. Any other pair has two: at turn 0 a call reads the
    first and writes the second, at turn 1 it is the other way round. The caller counts the turns.
    """

    def __init__(self, spec: GraphSpec, dimensions: Mapping[str, int]) -> None:
        """dimensions: numbers for the named dimensions. `ROWS` is 1 if it is left out."""
        self.spec = spec
        self.dimensions = {names.ROWS: 1, **dimensions}
        self.turns = 1 if all(pair.in_place for pair in spec.states) else 2
        self._used: set[int] = set()
        self._buffers: list[list[Array]] = []
        tensors = {tensor.name: tensor for tensor in spec.inputs}
        for pair in spec.states:
            past = allocate(tensors[pair.input], self.dimensions)
            present = past if pair.in_place else allocate(tensors[pair.input], self.dimensions)
            self._buffers.append([past, present])

    def bound_at(
        self, turn: int, rows: slice = ALL_ROWS
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Inputs and outputs, by tensor name, of a call of these rows at `turn`."""
        named = list(zip(self.spec.states, self._buffers, strict=True))
        past = {pair.input: buffers[turn][rows] for pair, buffers in named}
        present = {pair.output: buffers[1 - turn][rows] for pair, buffers in named}
        return past, present

    def clear(self, row: int) -> None:
        """Zeros for a row that begins. Rows that were never used hold zeros already."""
        if row in self._used:
            for array in self._distinct():
                array[row] = 0
        self._used.add(row)

    def move(self, source: int, target: int, turn: int) -> None:
        """Copy a row to another place: the part that its next call, at `turn`, reads."""
        self._used.add(target)
        for buffers in self._buffers:
            buffers[turn][target] = buffers[turn][source]

    def copy_row(self, row: int, turn: int) -> list[Array]:
        """What `move` would copy, in memory of its own."""
        return [buffers[turn][row : row + 1].copy() for buffers in self._buffers]

    def put_row(self, row: int, turn: int, arrays: Sequence[Array]) -> None:
        """Put such a copy into another place, of states that may have grown meanwhile."""
        self.clear(row)
        for buffers, array in zip(self._buffers, arrays, strict=True):
            buffers[turn][row : row + 1][tuple(map(slice, array.shape))] = array

    def grow(self, capacity: int) -> States:
        """The same states with room for more positions."""
        larger = States(self.spec, {**self.dimensions, names.CAPACITY: capacity})
        larger._used = set(self._used)
        for old, new in zip(self._distinct(), larger._distinct(), strict=True):
            new[tuple(map(slice, old.shape))] = old
        return larger

    def _distinct(self) -> list[Array]:
        """Every buffer once."""
        return [
            buffer
            for pair, buffers in zip(self.spec.states, self._buffers, strict=True)
            for buffer in buffers[: 1 if pair.in_place else 2]
        ]


class Call(Protocol):
    """A graph bound to buffers."""

    def run(self, turn: int) -> None:
        """Read the bound inputs and the past states, write the outputs and the present states."""


class Graph(Protocol):
    """A loaded graph. It holds no state: calls can come from several places in turn."""

    spec: GraphSpec

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One call of a graph without state; returns new arrays by output name."""


@runtime_checkable
class BindableGraph(Graph, Protocol):
    """A graph that works on the memory of its caller. rows: how many one call takes at most."""

    rows: int

    def bind(
        self,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        states: States,
        rows: slice = ALL_ROWS,
    ) -> Call:
        """Tie the graph to contiguous arrays.

        The caller names all tensors but the states; names that the graph does not have are
        ignored. rows: the rows of the states that take part, as many as the arrays have.
        """


@runtime_checkable
class LoopingGraph(Graph, Protocol):
    """A backbone whose engine runs the loop of backbone and head.

    rows: how many a loop has at most.
    """

    rows: int

    def prepare_rows(self, head: Graph, streams: int) -> OpenRows:
        """Allocate what a loop of one row needs, with a head of the same engine.

        Raises:
            UserError: graphs that do not fit each other, or no memory is left.
        """


def allocate(tensor: TensorSpec, dimensions: Mapping[str, int]) -> Array:
    """Zeros in the shape of `tensor`, with named dimensions replaced by numbers.

    Raises:
        UserError: more memory than there is.
    """
    shape = list(sized(tensor, {names.ROWS: 1, **dimensions}))
    dtype = np.dtype(numpy_type(tensor.dtype))
    try:
        return np.zeros(shape, dtype)
    except MemoryError:
        need = math.prod(shape) * dtype.itemsize / 2**20
        raise UserError(
            f"out of memory: {need:.0f} MiB more were needed for {tensor.name}; close other "
            "programs, or speak shorter text"
        ) from None


def sized(tensor: TensorSpec, dimensions: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of `tensor` with numbers for names."""
    return tuple(dimensions[size] if isinstance(size, str) else size for size in tensor.shape)


def size_bytes(tensor: TensorSpec, dimensions: Mapping[str, int]) -> int:
    """Memory of `tensor`."""
    return math.prod(sized(tensor, dimensions)) * np.dtype(numpy_type(tensor.dtype)).itemsize


def state_bytes(spec: GraphSpec, dimensions: Mapping[str, int]) -> int:
    """Memory of a graph's states, one buffer each."""
    past = {pair.input for pair in spec.states}
    return sum(size_bytes(tensor, dimensions) for tensor in spec.inputs if tensor.name in past)
