"""ONNX Runtime's own profile of a bundle's graphs, as the costs of the model's parts.

In: calls of the graphs that it opens, with threads and options as always. Out: the costs of each
call. What a call takes beside its operators is a part of its own, so that the costs are the whole.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

import msgspec

from commands.errors import UserError
from runtime.bundle.loading import Bundle
from runtime.engines.onnxruntime.graphs import CPU, OnnxRuntimeGraph
from runtime.engines.onnxruntime.operators import Operator, find_places
from runtime.engines.parts import OTHER, Costs, Place, add_cost

_BESIDE = Place(OTHER, "beside operators")
_MICROSECOND = 1e-6
_OPERATOR_ENDING = "_kernel_time"


class _Arguments(msgspec.Struct):
    op_name: str = ""


class _Event(msgspec.Struct):
    """Of a profile. ts, dur: microseconds."""

    cat: str
    name: str
    ts: int
    dur: int
    args: _Arguments


class OnnxRuntimeRecorder:
    """See `PartRecorder`."""

    def __init__(self, bundle: Bundle, threads: int | None) -> None:
        self._bundle, self._threads = bundle, threads
        self._folder = tempfile.TemporaryDirectory(prefix="slm-profile-")
        self._graphs: dict[str, tuple[OnnxRuntimeGraph, _Calls]] = {}
        self._phase: str | None = None

    def open_graph(self, name: str) -> OnnxRuntimeGraph:
        calls = _Calls(self)
        prefix = Path(self._folder.name) / name
        graph = OnnxRuntimeGraph(self._bundle, name, self._threads, CPU, calls, prefix)
        self._graphs[name] = graph, calls
        return graph

    def begin(self, phase: str | None) -> None:
        self._phase = phase

    @property
    def phase(self) -> str | None:
        return self._phase

    def finish(self) -> dict[tuple[str, str], list[Costs]]:
        found: defaultdict[tuple[str, str], list[Costs]] = defaultdict(list)
        for name, (graph, calls) in self._graphs.items():
            runs = _read_runs(graph.end_profile(), name)
            for run, (phase, stage) in zip(runs, calls.made, strict=True):
                if phase is not None:
                    found[phase, stage].append(_costs_of(run, name))
        self._folder.cleanup()
        return dict(found)


class _Calls:
    """An observer that keeps which phase and stage each call of a graph was of."""

    def __init__(self, recorder: OnnxRuntimeRecorder) -> None:
        self._recorder = recorder
        self.made: list[tuple[str | None, str]] = []

    def note(self, stage: str, seconds: float) -> None:
        self.made.append((self._recorder.phase, stage))


class _Run(msgspec.Struct):
    """One call: how long it took, and its operators in the order in which they ran."""

    whole: _Event
    operators: list[_Event]


def _read_runs(path: Path, graph: str) -> list[_Run]:
    """The calls in a profile, in order.

    Raises:
        UserError: a profile that this version does not know.
    """
    try:
        events = msgspec.json.decode(path.read_bytes(), type=list[_Event])
    except msgspec.DecodeError as error:
        raise UserError(
            f"{graph}: the profile of this ONNX Runtime cannot be read ({error}); profile without "
            "layers, or install another version"
        ) from None
    runs = [_Run(event, []) for event in events if event.name == "model_run"]
    runs.sort(key=lambda run: run.whole.ts)
    operators = [event for event in events if event.name.endswith(_OPERATOR_ENDING)]
    waiting = iter(sorted(operators, key=lambda event: event.ts))
    operator = next(waiting, None)
    for run in runs:
        while operator is not None and operator.ts < run.whole.ts + run.whole.dur:
            run.operators.append(operator)
            operator = next(waiting, None)
    return runs


def _costs_of(run: _Run, graph: str) -> Costs:
    costs: Costs = {}
    named = [
        Operator(event.name.removesuffix(_OPERATOR_ENDING), event.args.op_name)
        for event in run.operators
    ]
    for event, place in zip(run.operators, find_places(graph, named), strict=True):
        add_cost(costs, place, event.dur * _MICROSECOND)
    inside = sum(event.dur for event in run.operators)
    add_cost(costs, _BESIDE, max(0, run.whole.dur - inside) * _MICROSECOND)
    return costs
