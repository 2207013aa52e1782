"""Series of calls of one graph. Each call takes the states that the call before it left.

In: a graph, and inputs of one row for each call. Out: outputs, at once or later.
Series whose next calls have the same sizes can make them together, as rows of one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from runtime.bundle import names
from runtime.engines.graph import Array, BindableGraph, Call, Graph, States, allocate


class Pending(Protocol):
    """A call that may still be running."""

    def is_done(self) -> bool:
        """Whether `result` would not have to wait."""

    def result(self) -> dict[str, Array]:
        """Wait, then return new arrays by output name. It may be called once."""


class Calls(Protocol):
    """A series of calls of one row."""

    def start(self, inputs: Mapping[str, Array], dimensions: Mapping[str, int]) -> Pending:
        """Start the next call; it may go on in the background. Inputs may be changed afterwards.

        dimensions: numbers for the named dimensions of inputs and outputs, rows aside.
        """


@runtime_checkable
class SeriesGraph(Graph, Protocol):
    """A graph whose engine keeps the states of its calls, which may go on in the background."""

    def open_calls(self) -> Calls:
        """A new series of calls of one row; the states are zeros."""


@runtime_checkable
class HasteningGraph(Graph, Protocol):
    """A codec's decoder whose first audio need not wait for all the frames that it depends on."""

    def open_hastened_calls(self, look_ahead: int) -> Calls:
        """A new series of calls. Only the first one's audio is an estimate.

        It is `look_ahead` frames late instead of the codec's `delay_frames`, and computed as though
        its newest frame went on. Later calls are as late as always: what they would repeat of the
        first one's audio is silence, and their own first frame fades from the estimate.
        """


@dataclass(frozen=True)
class Finished:
    """The `Pending` of an engine that works while it is called."""

    outputs: dict[str, Array]

    def is_done(self) -> bool:
        return True

    def result(self) -> dict[str, Array]:
        return self.outputs


@dataclass
class _Bound:
    """A graph bound to buffers for certain sizes."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    call: Call


@dataclass
class HostCalls:
    """`Calls` on memory of the host."""

    graph: BindableGraph
    turn: int = 0
    states: States = field(init=False)
    _bound: dict[tuple[int, ...], _Bound] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.states = States(self.graph.spec, {})

    def start(self, inputs: Mapping[str, Array], dimensions: Mapping[str, int]) -> Finished:
        key = tuple(dimensions.values())
        if key not in self._bound:
            self._bound[key] = _bind(self.graph, self.states, dimensions)
        bound = self._bound[key]
        for name, buffer in bound.inputs.items():
            buffer[...] = inputs[name]
        bound.call.run(self.turn)
        self.turn = 1 - self.turn
        return Finished({name: array.copy() for name, array in bound.outputs.items()})


def open_calls(graph: Graph, look_ahead: int | None = None) -> Calls:
    """A series of calls, by the graph's own engine if it keeps their states.

    look_ahead: for a `HasteningGraph` only.
    """
    if look_ahead is not None:
        assert isinstance(graph, HasteningGraph), graph
        return graph.open_hastened_calls(look_ahead)
    if isinstance(graph, SeriesGraph):
        return graph.open_calls()
    assert isinstance(graph, BindableGraph), graph
    return HostCalls(graph)


def start_together(
    series: Sequence[Calls], inputs: Sequence[Mapping[str, Array]], dimensions: Mapping[str, int]
) -> list[Pending]:
    """Start the next call of each series, all of the same dimensions.

    On the host they are rows of one call, as many as the graph takes. In the background they
    follow each other.
    """
    host = [calls for calls in series if isinstance(calls, HostCalls)]
    most = min((calls.graph.rows for calls in host), default=1)
    if len(series) == 1 or len(host) < len(series) or most == 1:
        pairs = zip(series, inputs, strict=True)
        return [calls.start(given, dimensions) for calls, given in pairs]
    pending: list[Pending] = []
    for first in range(0, len(host), most):
        part = slice(first, first + most)
        pending += _start_rows(host[part], inputs[part], dimensions)
    return pending


def _start_rows(
    series: Sequence[HostCalls],
    inputs: Sequence[Mapping[str, Array]],
    dimensions: Mapping[str, int],
) -> list[Finished]:
    """Make one call. The states of each series are copied into a row, and back."""
    sizes = {**dimensions, names.ROWS: len(series)}
    states = States(series[0].graph.spec, sizes)
    bound = _bind(series[0].graph, states, sizes)
    past, present = states.bound_at(0)
    for row, calls in enumerate(series):
        own, _ = calls.states.bound_at(calls.turn)
        for name, array in past.items():
            array[row] = own[name][0]
        for name, buffer in bound.inputs.items():
            buffer[row] = inputs[row][name][0]
    bound.call.run(0)
    for row, calls in enumerate(series):
        _, own = calls.states.bound_at(calls.turn)
        for name, array in present.items():
            own[name][0] = array[row]
        calls.turn = 1 - calls.turn
    return [
        Finished({name: array[row : row + 1].copy() for name, array in bound.outputs.items()})
        for row in range(len(series))
    ]


def _bind(graph: BindableGraph, states: States, dimensions: Mapping[str, int]) -> _Bound:
    spec = graph.spec
    paired = {name for pair in spec.states for name in (pair.input, pair.output)}
    inputs, outputs = (
        {t.name: allocate(t, dimensions) for t in tensors if t.name not in paired}
        for tensors in (spec.inputs, spec.outputs)
    )
    return _Bound(inputs, outputs, graph.bind(inputs, outputs, states))
