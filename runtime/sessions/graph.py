"""What the runtime asks of an engine: graphs whose tensors live in memory that the caller owns.

In: a graph's specification from the manifest. Out: buffers of the right shape, and the interface
that every engine implements. It does not know any engine, nor what a graph computes.

The step loop binds each graph once to fixed buffers and then only calls `Call.run()`: one graph's
output buffer is the next graph's input buffer, and nothing is allocated or copied in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import GraphSpec, TensorSpec, numpy_type

Array = NDArray[Any]


class States:
    """The tensors that one call of a graph leaves and its next call takes, at first all zeros.

    A pair that works in place has one buffer. Any other pair has two, and `turn` says which of
    them holds the past: 0 or 1, changed by `advance()` after every call.
    """

    def __init__(self, spec: GraphSpec, dimensions: Mapping[str, int]) -> None:
        tensors = {tensor.name: tensor for tensor in spec.inputs}
        self.pairs = spec.states
        self.turn = 0
        self.turns = 1 if all(pair.in_place for pair in spec.states) else 2
        self._buffers: list[list[Array]] = []
        for pair in spec.states:
            past = allocate(tensors[pair.input], dimensions)
            self._buffers.append([past, past if pair.in_place else np.zeros_like(past)])

    def bound_at(self, turn: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """Inputs and outputs, by tensor name, of a call at `turn`."""
        named = list(zip(self.pairs, self._buffers, strict=True))
        past = {pair.input: buffers[turn] for pair, buffers in named}
        present = {pair.output: buffers[1 - turn] for pair, buffers in named}
        return past, present

    def advance(self) -> None:
        self.turn = (self.turn + 1) % self.turns


class Call(Protocol):
    """A graph bound to buffers."""

    def run(self) -> None:
        """Read the bound inputs, write the bound outputs, advance the states."""


class Graph(Protocol):
    """A loaded graph. It holds no state: calls with different buffers can alternate."""

    spec: GraphSpec

    def bind(
        self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], states: States
    ) -> Call:
        """Tie the graph to contiguous arrays. All tensors but the states are named by the caller;
        names that the graph does not have are passed over."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One call of a graph without state; returns new arrays by output name."""


def allocate(tensor: TensorSpec, dimensions: Mapping[str, int]) -> Array:
    """Zeros in the shape of `tensor`, with named dimensions replaced by numbers."""
    shape = [dimensions[size] if isinstance(size, str) else size for size in tensor.shape]
    return np.zeros(shape, numpy_type(tensor.dtype))
