"""What each part of a model costs: the interface of engines that can tell.

In: calls of graphs that a recorder has opened. Out: for each call of a stage, the seconds of every
part, which add up to the whole call. Engines time parts only in graphs of a recorder.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from runtime.engines.graph import Graph

# Parts of a decoder layer. A norm includes what prepares its rows for a product in few bits,
# attention the rotation and storing of keys and values, a product its bias.
NORM, QKV, ATTENTION, OUTPUT = "norm", "qkv", "attention", "output"
GATE_UP, ACTIVATION, DOWN = "gate_up", "activation", "down"
# Parts of heads, besides decoder layers: the first of two linear layers, the last one; drawing.
INNER, CODES = "inner", "codes"
# Parts of the codec's decoder: a stage's convolution that changes the rate, with its activation,
# and its residual units, "unit 0" …
CONVOLUTION, LATENTS = "convolution", "latents"
# Layers that are none of the backbone's: "0", "1" …
HEADS, DRAWING, FINAL, FIRST, LAST, OTHER = "heads", "drawing", "final", "first", "last", "other"


class Place(NamedTuple):
    """A part of a layer."""

    layer: str
    part: str


class Cost(NamedTuple):
    """seconds: of all its calls. calls: of operators, or of what the engine has for them."""

    seconds: float
    calls: int


Costs = dict[Place, Cost]  # of one call of a stage


class PartRecorder(Protocol):
    """One bundle, opened in order to be timed part by part. One thread may use it."""

    def open_graph(self, name: str) -> Graph:
        """A graph whose calls are recorded."""

    def begin(self, phase: str | None) -> None:
        """What is called from now on is one call of the stages of `phase`; None: of no interest."""

    def finish(self) -> dict[tuple[str, str], list[Costs]]:
        """The costs of each call, by phase and stage of `runtime.engines.observing`. Comes last."""


def add_cost(costs: Costs, place: Place, seconds: float, calls: int = 1) -> None:
    """Add to what a place has cost."""
    before = costs.get(place, Cost(0.0, 0))
    costs[place] = Cost(before.seconds + seconds, before.calls + calls)
