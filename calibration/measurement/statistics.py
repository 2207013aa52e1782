"""What flows into every linear layer: magnitudes, a sample, and the Gram matrix.

In: the layers' inputs, call by call. Out: `InputStatistics` by weight. Layers and their inputs
are found while graphs are built: a `Recorder` stands in for the number format of every weight.
It keeps no more rows than `SAMPLE_ROWS` of a layer, whatever the length of the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from export.graph.precisions import LinearFormat
from export.graph.writer import GraphWriter, Value
from export.quantization.products import part_name
from formats.weights import Array, Weight
from runtime.bundle.names import BACKBONE, MTP_HEAD, NTP_HEAD

SAMPLE_ROWS = 512
GRAPHS = (BACKBONE, MTP_HEAD, NTP_HEAD)  # the others run once an utterance, or not at all


@dataclass
class InputStatistics:
    """Inputs (rows, channels) of one layer.

    largest: float32 (channels), magnitudes over all rows. gram: XᵀX float32 (channels, channels),
    or None if it was not asked for. `sample` is a uniform choice of all rows.
    """

    channels: int
    with_gram: bool
    rows: int = 0
    largest: Array = field(init=False)
    gram: Array | None = field(init=False)
    _kept: Array = field(init=False, repr=False)
    _random: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.largest = np.zeros(self.channels, np.float32)
        self.gram = np.zeros((self.channels,) * 2, np.float32) if self.with_gram else None
        self._kept = np.zeros((SAMPLE_ROWS, self.channels), np.float32)
        self._random = np.random.default_rng(0)

    @property
    def sample(self) -> Array:
        """float32 (min(rows, SAMPLE_ROWS), channels)."""
        return self._kept[: self.rows]

    def add(self, inputs: Array) -> None:
        """Take inputs (rows, channels) in."""
        inputs = inputs.astype(np.float32, copy=False)
        self.largest = np.maximum(self.largest, np.abs(inputs).max(axis=0))
        if self.gram is not None:
            self.gram += inputs.T @ inputs
        numbers = self.rows + np.arange(len(inputs))
        places = self._random.integers(numbers + 1)  # reservoir sampling (Vitter, algorithm R)
        places = np.where(numbers < SAMPLE_ROWS, numbers, places)
        is_kept = places < SAMPLE_ROWS
        self._kept[places[is_kept]] = inputs[is_kept]  # of rows with one place the last one stays
        self.rows += len(inputs)


@dataclass(frozen=True)
class Recorder:
    """A number format that notes each weight of `GRAPHS` and the value that flows into it."""

    stored: LinearFormat
    inputs: dict[str, Value] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)
    graphs: dict[str, str] = field(default_factory=dict)  # graph of each weight

    def product(self, graph: GraphWriter, x: Value, weight: Weight) -> Value:
        if x.is_graph_input():
            x = graph.op.Identity(x)
        if graph.name not in GRAPHS:
            return self.stored.product(graph, x, weight)
        self.inputs[weight.name], self.weights[weight.name] = x, weight
        self.graphs[weight.name] = graph.name
        return self.stored.product(graph, x, weight)

    def watched(self) -> dict[str, list[str]]:
        """Names of the values to look at, by graph."""
        names: dict[str, list[str]] = {graph: [] for graph in self.graphs.values()}
        for weight, value in self.inputs.items():
            names[self.graphs[weight]].append(str(value.name))
        return names


class StatisticsCollector:
    """The statistics of all layers that a recorder has seen. A batched layer is one a part."""

    def __init__(self, recorder: Recorder, with_gram: bool) -> None:
        self._values = {name: str(value.name) for name, value in recorder.inputs.items()}
        self.weights = {
            part.name: part for weight in recorder.weights.values() for part in _parts(weight)
        }
        self.statistics = {
            name: InputStatistics(part.shape[1], with_gram) for name, part in self.weights.items()
        }

    def watch(self, values: dict[str, Array]) -> None:
        """Take in the values of one call; other values are passed over."""
        for name, value in self._values.items():
            if value not in values:
                continue
            inputs = values[value]
            if name in self.statistics:
                self.statistics[name].add(inputs.reshape(-1, inputs.shape[-1]))
            else:
                for index, part in enumerate(inputs):
                    self.statistics[part_name(name, index)].add(part)


def _parts(weight: Weight) -> list[Weight]:
    """The weight (out, in), or each weight of a batch (N, out, in)."""
    if len(weight.shape) == 2:
        return [weight]
    count, *shape = weight.shape

    def part(index: int) -> Weight:
        name = part_name(weight.name, index)
        return Weight(name, tuple(shape), lambda: weight.read()[index])

    return [part(index) for index in range(count)]
