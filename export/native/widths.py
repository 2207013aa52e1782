"""Tensors whose last axis is a width of the model, filled up to whole vectors.

In: a weight (…, width). Out: a float32 `Tensor` (…, width filled up with zeros).
"""

from __future__ import annotations

from export.native.layout import LANES, fill_up, round_up
from export.native.weight_file import Tensor
from formats.weights import Weight


def filled_tensor(name: str, weight: Weight) -> Tensor:
    *outer, width = weight.shape
    shape = (*outer, round_up(width, LANES))
    return Tensor(name, "F32", shape, lambda: [fill_up(weight.read(), len(outer)).astype("<f4")])
