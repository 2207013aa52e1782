"""Weights with known shapes, whose values are read only when a graph is saved.

In: anything that can produce an array, usually a memory-mapped checkpoint. Out: `Weight`, which
can be transposed, concatenated and stacked without reading its data, so that an export holds only
one converted tensor at a time. It knows neither ONNX nor file formats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Weight:
    """A float32 array of `shape`. Each call of `read()` reads it anew."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Array]

    @property
    def size_bytes(self) -> int:
        """Bytes as float32."""
        return 4 * math.prod(self.shape)

    def transposed(self) -> Weight:
        """The last two axes swapped, laid out contiguously: (…, out, in) -> (…, in, out)."""
        *outer, rows, columns = self.shape
        return Weight(
            self.name,
            (*outer, columns, rows),
            lambda: np.ascontiguousarray(np.swapaxes(self.read(), -1, -2)),
        )

    def reshaped(self, *shape: int) -> Weight:
        """The same values under another shape."""
        assert math.prod(shape) == math.prod(self.shape), f"{self.name}: {self.shape} -> {shape}"
        return replace(self, shape=shape, read=lambda: self.read().reshape(shape))

    def padded(self, rows: int, value: float) -> Weight:
        """Extended to `rows` along axis 0 with `value`."""
        widths = [(0, rows - self.shape[0])] + [(0, 0)] * (len(self.shape) - 1)
        shape = (rows, *self.shape[1:])
        return replace(
            self, shape=shape, read=lambda: np.pad(self.read(), widths, constant_values=value)
        )

    def scaled(self, scale: Weight) -> Weight:
        """Multiplied by `scale`, which broadcasts to this shape."""
        return replace(self, read=lambda: self.read() * scale.read())


def as_weight(name: str, array: Array) -> Weight:
    """An array that is already in memory."""
    values = np.asarray(array, np.float32)
    return Weight(name, values.shape, lambda: values)


def concatenate(name: str, weights: Sequence[Weight]) -> Weight:
    """Weights joined along axis 0, for fused projections of the same input."""
    tail = weights[0].shape[1:]
    assert all(weight.shape[1:] == tail for weight in weights), name
    shape = (sum(weight.shape[0] for weight in weights), *tail)
    return Weight(name, shape, lambda: np.concatenate([weight.read() for weight in weights]))


def stack(name: str, weights: Sequence[Weight]) -> Weight:
    """Weights of one shape along a new axis 0, for parallel heads as a batch."""
    shape = weights[0].shape
    assert all(weight.shape == shape for weight in weights), name
    return Weight(name, (len(weights), *shape), lambda: np.stack([w.read() for w in weights]))
