"""The two ways to write the operators that engines disagree about.

`ort`: fused com.microsoft operators, the fastest on ONNX Runtime's CPU provider. `portable`:
standard ONNX (opset 24) only, so that TensorRT parses the same file. Both compute the same
numbers. They know neither models nor checkpoints.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import onnx_ir as ir

from commands.errors import UserError
from export.graph.graph import AttentionGeometry, CachedAttention, Graph, KeyValues
from export.graph.precisions import Precision, WeightFormats
from export.graph.writer import Value
from formats.weights import Array, Weight, as_weight
from runtime.bundle.manifest import Dimension
from runtime.bundle.names import CAPACITY

MASKED = -6e4  # added to scores of positions that may not be seen; half precision holds it
FUSED_HEAD_MULTIPLE = 16  # channels per head that GroupQueryAttention can rotate
MOST_CANDIDATES = 2048  # that a portable graph draws from; TensorRT's TopK takes 3,840 at most


def new_graph(
    name: str,
    dialect: str,
    precision: Precision = "fp32",
    formats: WeightFormats | None = None,
) -> Graph:
    """An empty graph. Raises `UserError` for an unknown dialect, or a precision it has not."""
    if dialect not in DIALECTS:
        raise UserError(f"unknown dialect {dialect!r}; there are: {', '.join(DIALECTS)}")
    return DIALECTS[dialect](name, precision, formats)


class OrtGraph(Graph):
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

    def best(self, scores: Value, count: Value) -> tuple[Value, Value]:
        op = self.op
        count = op.Min(count, op.Shape(scores, start=1, end=2))
        values, indices = op.TopK(scores, count, axis=-1, _outputs=2)
        return values, indices

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
    """com.microsoft.GroupQueryAttention. It writes the cache where it lies when the engine binds
    past and present to the same memory."""

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
        self.cos, self.sin = _rotary_constants(graph, geometry)
        total = op.Add(past_length, op.Shape(x, start=1, end=2))  # [1]
        total = op.Cast(total, to=ir.DataType.INT32)
        self.total_length = op.Squeeze(total)
        self.last_position = op.Expand(op.Sub(total, 1), [geometry.batch])  # "seqlens_k"

    def __call__(self, qkv: Value, past: KeyValues) -> tuple[Value, KeyValues]:
        attended, key, value = self.graph.fused.GroupQueryAttention(
            qkv,
            None,
            None,
            past.key,
            past.value,
            self.last_position,
            self.total_length,
            self.cos,
            self.sin,
            num_heads=self.geometry.query_heads,
            kv_num_heads=self.geometry.kv_heads,
            do_rotary=1,
            _outputs=3,
        )
        return _like(attended, qkv), KeyValues(_like(key, past.key), _like(value, past.value))


class PortableGraph(Graph):
    """Standard operators that TensorRT's parser, too, consumes completely.

    The cache's capacity is a number, because TensorRT's cache operator needs one, and no shape
    depends on the values of an input, so that nothing but the call itself waits for the host.
    """

    dialect = "portable"
    opset = 24
    ir_version = 12
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

    def best(self, scores: Value, count: Value) -> tuple[Value, Value]:
        op = self.op
        assert scores.shape is not None
        known = scores.shape[1]
        assert isinstance(known, int)
        entries = min(known, MOST_CANDIDATES)
        values, indices = op.TopK(scores, [entries], axis=-1, _outputs=2)
        rank = self.constant(np.arange(entries), "rank")
        return op.Where(op.Less(rank, count), values, -np.inf), indices

    def rms_norm(self, x: Value, weight: Weight, epsilon: float) -> Value:
        return self.op.RMSNormalization(x, self.weight(weight), axis=-1, epsilon=epsilon)

    def add_rms_norm(
        self, x: Value, residual: Value, weight: Weight, epsilon: float
    ) -> tuple[Value, Value]:
        total = self.op.Add(x, residual)
        return self.rms_norm(total, weight, epsilon), total

    def attention(
        self, geometry: AttentionGeometry, past_length: Value, x: Value
    ) -> CachedAttention:
        return _StandardAttention(self, geometry, past_length, x)


class _StandardAttention:
    """RotaryEmbedding, TensorScatter and Attention with an explicit additive mask.

    TensorRT ignores Attention's `nonpad_kv_seqlen` and aligns `is_causal` to the upper left,
    so causality and the length of the cache are both in the mask.
    """

    def __init__(
        self,
        graph: PortableGraph,
        geometry: AttentionGeometry,
        past_length: Value,
        x: Value,
    ) -> None:
        op = graph.op
        self.graph, self.geometry = graph, geometry
        self.cos, self.sin = _rotary_constants(graph, geometry)
        new_positions = op.Range(0, op.Squeeze(op.Shape(x, start=1, end=2)), 1)
        position = op.Add(new_positions, past_length)  # (S)
        self.write_index = op.Expand(past_length, [geometry.batch])
        ones = op.Expand(1, [geometry.batch, 1])
        self.position_ids = op.Mul(op.Unsqueeze(position, [0]), ones)  # (B, S)
        cached = graph.constant(np.arange(geometry.max_positions)[None], "cached_positions")
        visible = op.LessOrEqual(cached, op.Unsqueeze(position, [1]))
        self.mask = graph.narrow(op.Where(visible, 0.0, MASKED))  # (S, capacity)

    def __call__(self, qkv: Value, past: KeyValues) -> tuple[Value, KeyValues]:
        op, sizes = self.graph.op, self.geometry
        rotated_heads = sizes.query_heads + sizes.kv_heads
        heads = op.Reshape(
            self.graph.narrow(qkv), [0, 0, rotated_heads + sizes.kv_heads, sizes.head_dim]
        )
        heads = op.Transpose(heads, perm=[0, 2, 1, 3])  # (B, H + 2·KV, S, D)
        rotated, value = op.Split(heads, [rotated_heads, sizes.kv_heads], axis=1, _outputs=2)
        rotated = op.RotaryEmbedding(rotated, self.cos, self.sin, self.position_ids)
        query, key = op.Split(rotated, [sizes.query_heads, sizes.kv_heads], axis=1, _outputs=2)
        key = op.TensorScatter(past.key, key, self.write_index, axis=2)
        value = op.TensorScatter(past.value, value, self.write_index, axis=2)
        attended = op.Attention(query, key, value, self.mask)  # (B, H, S, D)
        attended = op.Transpose(attended, perm=[0, 2, 1, 3])
        merged = op.Reshape(attended, [0, 0, sizes.query_heads * sizes.head_dim])
        return merged, KeyValues(key, value)


def rotary_tables(geometry: AttentionGeometry) -> tuple[Array, Array]:
    """Cosines and sines of position · theta^(-2i/D), each float32 (max_positions, D / 2)."""
    channels = np.arange(0, geometry.head_dim, 2, dtype=np.float32) / geometry.head_dim
    frequencies = 1.0 / np.float32(geometry.rope_theta) ** channels
    angles = np.outer(np.arange(geometry.max_positions, dtype=np.float32), frequencies)
    return np.cos(angles), np.sin(angles)


def _rotary_constants(graph: Graph, geometry: AttentionGeometry) -> tuple[Value, Value]:
    cos, sin = rotary_tables(geometry)
    return (
        graph.weight(as_weight("rotary.cos", cos), graph.compute),
        graph.weight(as_weight("rotary.sin", sin), graph.compute),
    )


def _like(value: Value, pattern: Value) -> Value:
    """Type the output of an operator that the shape inference does not know."""
    assert pattern.dtype is not None
    value.dtype = pattern.dtype
    return value


DIALECTS: dict[str, type[Graph]] = {graph.dialect: graph for graph in (OrtGraph, PortableGraph)}
