"""What the two dialects of standard ONNX share: caches of fixed capacity, masks, and heads apart.

No shape depends on the values of an input, because the host would have to wait for them in every
call. A cache's capacity is a number for the same reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from export.graph.model_graph import AttentionGeometry, KeyValues, ModelGraph
from export.graph.writer import Value
from formats.weights import Weight
from runtime.bundle.manifest import Dimension

MASKED = -6e4  # added to scores of positions that may not be seen; half precision holds it
MOST_CANDIDATES = 2048  # that a graph draws from; TensorRT's TopK takes 3,840 at most


class StandardGraph(ModelGraph):
    """A graph of standard operators, whose precisions are those of GPUs."""

    compute_types: ClassVar = {
        "fp32": "float32",
        "fp16": "float16",
        "bf16": "bfloat16",
        "int8": "float16",
        "fp8": "float16",
        "int4": "float16",
    }

    def capacity(self, positions: int) -> Dimension:
        return positions

    def best(self, scores: Value, count: Value, entries: int) -> tuple[Value, Value]:
        op, entries = self.op, min(entries, MOST_CANDIDATES)
        values, indices = op.TopK(scores, [entries], axis=-1, _outputs=2)
        rank = self.constant(np.arange(entries), "rank")
        wanted = op.Less(rank, op.Unsqueeze(count, [1, 2]))
        return op.Where(wanted, values, -np.inf), indices

    def add_rms_norm(
        self, x: Value, residual: Value, weight: Weight, epsilon: float
    ) -> tuple[Value, Value]:
        total = self.op.Add(x, residual)
        return self.rms_norm(total, weight, epsilon), total


class MaskedAttention(ABC):
    """Attention over a cache of fixed capacity with an explicit additive mask.

    The mask holds both causality and how much of the cache is in use.
    """

    def __init__(
        self, graph: StandardGraph, geometry: AttentionGeometry, past_length: Value, x: Value
    ) -> None:
        op = graph.op
        self.graph, self.geometry = graph, geometry
        self._heads = _Heads(graph, geometry, x)
        self._past_length = op.Unsqueeze(past_length, [1])  # (rows, 1)
        self._new = op.Shape(x, start=1, end=2)  # S
        new_positions = op.Range(0, op.Squeeze(self._new), 1)
        self._position_ids = op.Add(self._past_length, new_positions)  # (rows, S)
        self._cached = graph.constant(np.arange(geometry.max_positions), "cached_positions")
        visible = op.LessOrEqual(self._cached, op.Unsqueeze(self._position_ids, [1, 3]))
        self._visible = visible  # (rows, 1, S, capacity)

    def __call__(self, qkv: Value, past: KeyValues) -> tuple[Value, KeyValues]:
        query, key, value = self._heads.split(self.graph.narrow(qkv), self._rotate)
        present = KeyValues(self._longer(past.key, key), self._longer(past.value, value))
        return self._heads.merge(self._attend(query, present)), present

    @abstractmethod
    def _rotate(self, heads: Value) -> Value:
        """Heads (rows, any, S, D), turned by their positions."""

    @abstractmethod
    def _longer(self, past: Value, new: Value) -> Value:
        """The cache (rows, KV, capacity, D) with `new` (rows, KV, S, D) behind what is in use."""

    @abstractmethod
    def _attend(self, query: Value, present: KeyValues) -> Value:
        """Attention of query (rows, H, S, D) to the cache: (rows, H, S, D)."""


class _Heads:
    """Packed queries, keys and values as heads, and back, of one decoder or of several."""

    def __init__(self, graph: StandardGraph, geometry: AttentionGeometry, x: Value) -> None:
        self._op, self._sizes = graph.op, geometry
        if geometry.decoders > 1:
            count, heads = geometry.decoders, sum(geometry.qkv_heads)
            self._by_row = graph.op.Concat(
                [count], graph.op.Shape(x, start=0, end=2), [heads, geometry.head_dim], axis=0
            )

    def split(self, qkv: Value, rotate: Callable[[Value], Value]) -> tuple[Value, Value, Value]:
        """Query, key and value (rows, heads, S, D), the first two rotated.

        qkv: (rows, S, …), or of several decoders (decoders, rows · S, …).
        """
        one = self._sizes.decoders == 1
        return self._split_one(qkv, rotate) if one else self._split_several(qkv, rotate)

    def merge(self, attended: Value) -> Value:
        """(rows, H, S, D) -> (rows, S, H·D), or of several decoders (decoders, rows · S, H·D)."""
        op, sizes = self._op, self._sizes
        if sizes.decoders == 1:
            attended = op.Transpose(attended, perm=[0, 2, 1, 3])
            return op.Reshape(attended, [0, 0, sizes.query_heads * sizes.head_dim])
        apart = [0, sizes.decoders, sizes.query_heads, -1, sizes.head_dim]
        attended = op.Transpose(op.Reshape(attended, apart), perm=[1, 0, 3, 2, 4])
        return op.Reshape(attended, [sizes.decoders, -1, sizes.query_heads * sizes.head_dim])

    def _split_one(
        self, qkv: Value, rotate: Callable[[Value], Value]
    ) -> tuple[Value, Value, Value]:
        op, sizes = self._op, self._sizes
        rotated_heads = sizes.query_heads + sizes.kv_heads
        heads = op.Reshape(qkv, [0, 0, rotated_heads + sizes.kv_heads, sizes.head_dim])
        heads = op.Transpose(heads, perm=[0, 2, 1, 3])  # (rows, H + 2·KV, S, D)
        rotated, value = op.Split(heads, [rotated_heads, sizes.kv_heads], axis=1, _outputs=2)
        rotated = rotate(rotated)
        query, key = op.Split(rotated, [sizes.query_heads, sizes.kv_heads], axis=1, _outputs=2)
        return query, key, value

    def _split_several(
        self, qkv: Value, rotate: Callable[[Value], Value]
    ) -> tuple[Value, Value, Value]:
        op, sizes = self._op, self._sizes
        heads = op.Reshape(qkv, self._by_row)  # (decoders, rows, S, H + 2·KV, D)
        heads = op.Transpose(heads, perm=[1, 0, 3, 2, 4])
        parts = op.Split(heads, [*sizes.qkv_heads], axis=2, _outputs=3)
        query, key, value = (
            op.Reshape(part, [0, sizes.decoders * count, -1, sizes.head_dim])
            for part, count in zip(parts, sizes.qkv_heads, strict=True)
        )
        return rotate(query), rotate(key), value
