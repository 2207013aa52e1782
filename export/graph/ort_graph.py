"""Graphs of the ort dialect: fused com.microsoft operators.

They are the fastest on ONNX Runtime's CPU provider, and no other engine has them.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import onnx_ir as ir

from commands.errors import UserError
from export.graph.model_graph import AttentionGeometry, CachedAttention, KeyValues, ModelGraph
from export.graph.precisions import Precision, WeightFormats
from export.graph.rotary import rotary_weights
from export.graph.writer import Value
from formats.weights import Weight
from runtime.bundle.manifest import Dimension
from runtime.bundle.names import CAPACITY

FUSED_HEAD_MULTIPLE = 16  # channels per head that GroupQueryAttention can rotate


class OrtGraph(ModelGraph):
    """ONNX Runtime's own operators."""

    dialect = "ort"
    opset = 21  # the newest that all of ONNX Runtime's graph optimizations know
    ir_version = 10
    compute_types: ClassVar = {"fp32": "float32", "int8": "float32", "int4": "float32"}

    def __init__(
        self, name: str, precision: Precision = "fp32", formats: WeightFormats | None = None
    ) -> None:
        super().__init__(name, precision, formats)
        self._builder.graph.opset_imports["com.microsoft"] = 1
        self.fused = self._builder.opset("com.microsoft", 1)

    def capacity(self, positions: int) -> Dimension:
        return CAPACITY

    def best(self, scores: Value, count: Value, entries: int) -> tuple[Value, Value]:
        """TopK takes one number for all rows, so it gets the largest."""
        op = self.op
        most = op.Min(op.ReduceMax(count, keepdims=1), [entries])
        values, indices = op.TopK(scores, most, axis=-1, _outputs=2)
        rank = op.Slice(self.constant(np.arange(entries), "rank"), [0], most)
        wanted = op.Less(rank, op.Unsqueeze(count, [1, 2]))
        return op.Where(wanted, values, -np.inf), indices

    def rms_norm(self, x: Value, weight: Weight, epsilon: float) -> Value:
        normed = self.op.SimplifiedLayerNormalization(
            x, self.weight(weight), axis=-1, epsilon=epsilon, stash_type=1, _version=1
        )
        return _like(normed, x)

    def add_rms_norm(
        self, x: Value, residual: Value, weight: Weight, epsilon: float
    ) -> tuple[Value, Value]:
        normed, _, _, total = self.fused.SkipSimplifiedLayerNormalization(
            x, residual, self.weight(weight), epsilon=epsilon, _outputs=4
        )
        return _like(normed, x), _like(total, x)

    def attention(
        self, geometry: AttentionGeometry, past_length: Value, x: Value
    ) -> CachedAttention:
        return _GroupQueryAttention(self, geometry, past_length, x)


class _GroupQueryAttention:
    """com.microsoft.GroupQueryAttention. It writes the cache in place if the engine binds past and
    present to the same memory."""

    def __init__(
        self, graph: OrtGraph, geometry: AttentionGeometry, past_length: Value, x: Value
    ) -> None:
        if geometry.head_dim % FUSED_HEAD_MULTIPLE:
            raise UserError(
                f"attention heads of {geometry.head_dim} channels: the ort dialect needs a "
                f"multiple of {FUSED_HEAD_MULTIPLE}; export with --dialect portable"
            )
        op = graph.op
        self.graph, self.geometry = graph, geometry
        self.cos, self.sin = rotary_weights(graph, geometry, graph.compute)
        total = op.Add(past_length, op.Shape(x, start=1, end=2))  # (rows)
        total = op.Cast(total, to=ir.DataType.INT32)
        self.total_length = op.ReduceMax(total, keepdims=0)
        self.last_position = op.Sub(total, 1)  # "seqlens_k"
        if geometry.decoders > 1:
            self.by_row = op.Concat(op.Shape(x, start=0, end=2), [-1], axis=0)

    def __call__(self, qkv: Value, past: KeyValues) -> tuple[Value, KeyValues]:
        one = self.geometry.decoders == 1
        attended, key, value = self.graph.fused.GroupQueryAttention(
            *((qkv, None, None) if one else self._by_row(qkv)),
            past.key,
            past.value,
            self.last_position,
            self.total_length,
            self.cos,
            self.sin,
            num_heads=self.geometry.decoders * self.geometry.query_heads,
            kv_num_heads=self.geometry.decoders * self.geometry.kv_heads,
            do_rotary=1,
            _outputs=3,
        )
        attended = _like(attended, qkv)
        cache = KeyValues(_like(key, past.key), _like(value, past.value))
        return attended if one else self._by_decoder(attended), cache

    def _by_row(self, qkv: Value) -> list[Value]:
        """qkv (decoders, rows · S, …) -> query, key and value of all decoders, (rows, S, …)."""
        op, sizes = self.graph.op, self.geometry
        channels = [heads * sizes.head_dim for heads in sizes.qkv_heads]
        parts = op.Split(op.Transpose(qkv, perm=[1, 0, 2]), channels, axis=2, _outputs=3)
        return [op.Reshape(part, self.by_row) for part in parts]

    def _by_decoder(self, attended: Value) -> Value:
        """(rows, S, decoders · H·D) -> (decoders, rows · S, H·D)."""
        op, sizes = self.graph.op, self.geometry
        channels = sizes.query_heads * sizes.head_dim
        return op.Transpose(op.Reshape(attended, [-1, sizes.decoders, channels]), perm=[1, 0, 2])


def _like(value: Value, pattern: Value) -> Value:
    """Give a type to the output of an operator that shape inference does not know."""
    assert pattern.dtype is not None
    value.dtype = pattern.dtype
    return value
