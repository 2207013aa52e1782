"""What the runtime asks of an engine: graphs whose tensors live in memory that the caller owns.

In: a graph's specification from the manifest. Out: buffers of the right shape, and the interface
that every engine implements. It does not know any engine, nor what a graph computes.

On the CPU the step loop binds each graph once to fixed buffers and then only calls `Call.run()`:
one graph's output buffer is the next graph's input buffer, and nothing is allocated or copied in
between. An engine with memory of its own keeps the loop there (`LoopingGraph`), and may go on
while the host does something else (`BackgroundGraph`).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.bundle.manifest import GraphSpec, TensorSpec, numpy_type

Array = NDArray[Any]
Durations = Mapping[str, list[float]]  # stage -> seconds; makes lists as they are asked for


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
            present = past if pair.in_place else allocate(tensors[pair.input], dimensions)
            self._buffers.append([past, present])

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
    """A loaded graph. It holds no state: calls can come from several places in turn."""

    spec: GraphSpec

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One call of a graph without state; returns new arrays by output name."""


@runtime_checkable
class BindableGraph(Graph, Protocol):
    """A graph that works on the memory of its caller."""

    def bind(
        self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], states: States
    ) -> Call:
        """Tie the graph to contiguous arrays. All tensors but the states are named by the caller;
        names that the graph does not have are passed over."""


class Pending(Protocol):
    """A call that goes on by itself."""

    def is_done(self) -> bool:
        """Whether `result` would not have to wait."""

    def result(self) -> dict[str, Array]:
        """Wait; new arrays by output name. To be asked for once."""


class Calls(Protocol):
    """Calls of one graph in a row, each taking the states that the one before left."""

    def start(self, inputs: Mapping[str, Array], dimensions: Mapping[str, int]) -> Pending:
        """Start the next call; it may go on in the background. Inputs may be changed afterwards.

        dimensions: numbers for the named dimensions of inputs and outputs.
        """


@runtime_checkable
class BackgroundGraph(Graph, Protocol):
    """A graph whose calls need not be waited for."""

    def open_calls(self) -> Calls:
        """A new row of calls; the states are zeros."""


@dataclass(frozen=True)
class Finished:
    """The `Pending` of an engine that works while it is called."""

    outputs: dict[str, Array]

    def is_done(self) -> bool:
        return True

    def result(self) -> dict[str, Array]:
        return self.outputs


class HostCalls:
    """`Calls` on memory of the host: states, and buffers for all dimensions that occur."""

    def __init__(self, graph: BindableGraph) -> None:
        self._graph = graph
        self._states = States(graph.spec, {})
        self._bound: dict[tuple[int, ...], tuple[dict[str, Array], dict[str, Array], Call]] = {}

    def start(self, inputs: Mapping[str, Array], dimensions: Mapping[str, int]) -> Finished:
        bound_inputs, outputs, call = self._bind(dimensions)
        for name, buffer in bound_inputs.items():
            buffer[...] = inputs[name]
        call.run()
        return Finished({name: array.copy() for name, array in outputs.items()})

    def _bind(
        self, dimensions: Mapping[str, int]
    ) -> tuple[dict[str, Array], dict[str, Array], Call]:
        key = tuple(dimensions.values())
        if key not in self._bound:
            spec = self._graph.spec
            states = {name for pair in spec.states for name in (pair.input, pair.output)}
            inputs, outputs = (
                {t.name: allocate(t, dimensions) for t in tensors if t.name not in states}
                for tensors in (spec.inputs, spec.outputs)
            )
            call = self._graph.bind(inputs, outputs, self._states)
            self._bound[key] = (inputs, outputs, call)
        return self._bound[key]


def open_calls(graph: Graph) -> Calls:
    """A row of calls, in the background if the graph's engine can do that."""
    if isinstance(graph, BackgroundGraph):
        return graph.open_calls()
    assert isinstance(graph, BindableGraph), graph
    return HostCalls(graph)


@dataclass(frozen=True)
class Drawn:
    """What one step drew. codes: int64 [N]; kept: how many of them, from the left, are speech;
    stop: the model ended the utterance."""

    codes: NDArray[np.int64]
    kept: int
    stop: bool


class StepLoop(Protocol):
    """Backbone and head, taking turns."""

    def steps(
        self,
        prompt: NDArray[np.float32],
        settings: Mapping[str, Array],
        random: np.random.Generator,
        max_steps: int,
    ) -> Generator[Drawn, None, None]:
        """At most `max_steps` steps; what `stop` means is the caller's business.

        prompt: float32 [1, positions, hidden_size]. settings: the head's sampling inputs but the
        noise, which each step takes from `random`. Closing the generator ends the work.
        """


@runtime_checkable
class LoopingGraph(Graph, Protocol):
    """A backbone whose engine runs the loop by itself."""

    def step_loop(self, head: Graph, durations: Durations | None = None) -> StepLoop:
        """The loop with this backbone and a head of the same engine.

        durations: where the engine notes the seconds of each prefill and step, by stage.
        """


def allocate(tensor: TensorSpec, dimensions: Mapping[str, int]) -> Array:
    """Zeros in the shape of `tensor`, with named dimensions replaced by numbers.

    Raises:
        UserError: more memory than there is.
    """
    shape = [dimensions[size] if isinstance(size, str) else size for size in tensor.shape]
    dtype = np.dtype(numpy_type(tensor.dtype))
    try:
        return np.zeros(shape, dtype)
    except MemoryError:
        need = math.prod(shape) * dtype.itemsize / 2**20
        raise UserError(
            f"out of memory: {need:.0f} MiB more were needed for {tensor.name}; close other "
            "programs, or speak shorter text"
        ) from None
