"""Statistics of the inputs of every layer: magnitudes, a sample, and the Gram matrix.

In: values inside the graphs, call by call. Out: `InputStatistics` by weight. A collector is made
from the log of products (`calibration.measurement.product_log`). It keeps at most `SAMPLE_ROWS`
rows of each layer, however long the data is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from calibration.measurement.product_log import ProductLog
from export.graph.runner import Arrays
from export.quantization.convolutions import as_rows
from export.quantization.products import part_name
from formats.weights import Array, Weight

SAMPLE_ROWS = 512


@dataclass
class InputStatistics:
    """Statistics of the inputs (rows, channels) of one layer.

    largest: float32 (channels), the largest magnitudes of all rows. gram: XᵀX float32 (channels,
    channels), or None if no method needs it. sample: rows drawn uniformly from all rows.
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
        """Count inputs (rows, channels)."""
        inputs = inputs.astype(np.float32, copy=False)
        self.largest = np.maximum(self.largest, np.abs(inputs).max(axis=0))
        if self.gram is not None:
            self.gram += inputs.T @ inputs
        numbers = self.rows + np.arange(len(inputs))
        places = self._random.integers(numbers + 1)  # reservoir sampling (Vitter, algorithm R)
        places = np.where(numbers < SAMPLE_ROWS, numbers, places)
        is_kept = places < SAMPLE_ROWS
        self._kept[places[is_kept]] = inputs[is_kept]  # if places are equal, the last one stays
        self.rows += len(inputs)


class StatisticsCollector(Protocol):
    """Statistics of all layers of a log, by the name of their weight (out, in)."""

    weights: dict[str, Weight]
    statistics: dict[str, InputStatistics]

    def watch(self, values: Arrays) -> None:
        """Count the values of one call. Values that the log does not name are ignored."""


class LinearStatistics:
    """Statistics of matrix products. Each part of a batch of products is a layer of its own."""

    def __init__(self, log: ProductLog, with_gram: bool) -> None:
        self._values = log.values_by_weight()
        self.weights = {part.name: part for weight in log.weights() for part in _parts(weight)}
        self.statistics = {
            name: InputStatistics(part.shape[1], with_gram) for name, part in self.weights.items()
        }

    def watch(self, values: Arrays) -> None:
        for name, inputs in _watched(self._values, values):
            if name in self.statistics:
                self.statistics[name].add(inputs.reshape(-1, inputs.shape[-1]))
            else:
                for index, part in enumerate(inputs):
                    self.statistics[part_name(name, index)].add(part)


class ConvolutionStatistics:
    """Statistics of convolutions (out, in, 1, taps) on feature maps (1, in, 1, T)."""

    def __init__(self, log: ProductLog) -> None:
        self._values = log.values_by_weight()
        self.weights = {weight.name: as_rows(weight) for weight in log.weights()}
        self.statistics = {
            weight.name: InputStatistics(weight.shape[1], with_gram=False)
            for weight in log.weights()
        }

    def watch(self, values: Arrays) -> None:
        for name, feature_map in _watched(self._values, values):
            self.statistics[name].add(feature_map[0, :, 0].T)


def _watched(names: dict[str, str], values: Arrays) -> Iterator[tuple[str, Array]]:
    """(name of a weight, its input) for those `values` that are inputs of products."""
    return ((weight, values[value]) for weight, value in names.items() if value in values)


def _parts(weight: Weight) -> list[Weight]:
    """The weight (out, in), or each weight of a batch (N, out, in)."""
    if len(weight.shape) == 2:
        return [weight]
    count, *shape = weight.shape

    def part(index: int) -> Weight:
        name = part_name(weight.name, index)
        return Weight(name, tuple(shape), lambda: weight.read()[index])

    return [part(index) for index in range(count)]
