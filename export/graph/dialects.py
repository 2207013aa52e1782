"""The two ways to write the operators that engines disagree about.

`ort` has fused com.microsoft operators, the fastest on ONNX Runtime's CPU provider. `portable` has
standard ONNX (opset 24) only, which TensorRT also parses. Both compute the same numbers. They know
neither models nor checkpoints.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import onnx_ir as ir

from commands.errors import UserError
from export.graph.model_graph import AttentionGeometry, CachedAttention, KeyValues, ModelGraph
from export.graph.precisions import GraphNumbers, Precision, WeightFormats
from export.graph.writer import Value
from formats.weights import Array, Weight, as_weight
from runtime.bundle.manifest import Dimension
from runtime.bundle.names import CAPACITY

MASKED = -6e4  # added to scores of positions that may not be seen; half precision holds it
FUSED_HEAD_MULTIPLE = 16  # channels per head that GroupQueryAttention can rotate
MOST_CANDIDATES = 2048  # that a portable graph draws from; TensorRT's TopK takes 3,840 at most


def new_graph(name: str, numbers: GraphNumbers) -> ModelGraph:
    """An empty graph. Raises `UserError` for an unknown dialect, or a precision it lacks."""
    dialect = DIALECTS.get(numbers.dialect)
    if dialect is None:
        raise UserError(f"unknown dialect {numbers.dialect!r}; there are: {', '.join(DIALECTS)}")
    return dialect(name, numbers.precision, numbers.formats)


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
        self.cos, self.sin = _rotary_constants(graph, geometry)
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


class PortableGraph(ModelGraph):
    """Standard operators, all of which TensorRT's parser knows.

    The cache's capacity is a number, because TensorRT's cache operator needs one. No shape depends
    on the values of an input, because the host would have to wait for them in every call.
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

    def best(self, scores: Value, count: Value, entries: int) -> tuple[Value, Value]:
        op, entries = self.op, min(entries, MOST_CANDIDATES)
        values, indices = op.TopK(scores, [entries], axis=-1, _outputs=2)
        rank = self.constant(np.arange(entries), "rank")
        wanted = op.Less(rank, op.Unsqueeze(count, [1, 2]))
        return op.Where(wanted, values, -np.inf), indices

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

    TensorRT ignores Attention's `nonpad_kv_seqlen` and aligns `is_causal` to the upper left.
    Therefore the mask holds both causality and the length of the cache.
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
        self.write_index = past_length
        self.position_ids = op.Add(op.Unsqueeze(past_length, [1]), new_positions)  # (rows, S)
        cached = graph.constant(np.arange(geometry.max_positions), "cached_positions")
        visible = op.LessOrEqual(cached, op.Unsqueeze(self.position_ids, [1, 3]))
        self.mask = graph.narrow(op.Where(visible, 0.0, MASKED))  # (rows, 1, S, capacity)
        if geometry.decoders > 1:
            count, heads = geometry.decoders, sum(geometry.qkv_heads)
            self.by_row = op.Concat(
                [count], op.Shape(x, start=0, end=2), [heads, geometry.head_dim], axis=0
            )

    def __call__(self, qkv: Value, past: KeyValues) -> tuple[Value, KeyValues]:
        op, sizes = self.graph.op, self.geometry
        split = self._split_one if sizes.decoders == 1 else self._split_several
        query, key, value = split(self.graph.narrow(qkv))
        key = op.TensorScatter(past.key, key, self.write_index, axis=2)
        value = op.TensorScatter(past.value, value, self.write_index, axis=2)
        attended = op.Attention(query, key, value, self.mask)  # (rows, heads, S, D)
        merge = self._merge_one if sizes.decoders == 1 else self._merge_several
        return merge(attended), KeyValues(key, value)

    def _split_one(self, qkv: Value) -> tuple[Value, Value, Value]:
        """Query, key and value (rows, heads, S, D), rotated. qkv: (rows, S, …)."""
        op, sizes = self.graph.op, self.geometry
        rotated_heads = sizes.query_heads + sizes.kv_heads
        heads = op.Reshape(qkv, [0, 0, rotated_heads + sizes.kv_heads, sizes.head_dim])
        heads = op.Transpose(heads, perm=[0, 2, 1, 3])  # (rows, H + 2·KV, S, D)
        rotated, value = op.Split(heads, [rotated_heads, sizes.kv_heads], axis=1, _outputs=2)
        rotated = self._rotate(rotated)
        query, key = op.Split(rotated, [sizes.query_heads, sizes.kv_heads], axis=1, _outputs=2)
        return query, key, value

    def _split_several(self, qkv: Value) -> tuple[Value, Value, Value]:
        """The same of all decoders at once. qkv: (decoders, rows · S, …)."""
        op, sizes = self.graph.op, self.geometry
        heads = op.Reshape(qkv, self.by_row)  # (decoders, rows, S, H + 2·KV, D)
        heads = op.Transpose(heads, perm=[1, 0, 3, 2, 4])
        parts = op.Split(heads, [*sizes.qkv_heads], axis=2, _outputs=3)
        query, key, value = (
            op.Reshape(part, [0, sizes.decoders * count, -1, sizes.head_dim])
            for part, count in zip(parts, sizes.qkv_heads, strict=True)
        )
        return self._rotate(query), self._rotate(key), value

    def _merge_one(self, attended: Value) -> Value:
        """(rows, H, S, D) -> (rows, S, H·D)."""
        op, sizes = self.graph.op, self.geometry
        attended = op.Transpose(attended, perm=[0, 2, 1, 3])
        return op.Reshape(attended, [0, 0, sizes.query_heads * sizes.head_dim])

    def _merge_several(self, attended: Value) -> Value:
        """(rows, decoders · H, S, D) -> (decoders, rows · S, H·D)."""
        op, sizes = self.graph.op, self.geometry
        apart = [0, sizes.decoders, sizes.query_heads, -1, sizes.head_dim]
        attended = op.Transpose(op.Reshape(attended, apart), perm=[1, 0, 3, 2, 4])
        return op.Reshape(attended, [sizes.decoders, -1, sizes.query_heads * sizes.head_dim])

    def _rotate(self, heads: Value) -> Value:
        return self.graph.op.RotaryEmbedding(heads, self.cos, self.sin, self.position_ids)


def rotary_tables(geometry: AttentionGeometry) -> tuple[Array, Array]:
    """Cosines and sines of position · theta^(-2i/D), each float32 (max_positions, D / 2)."""
    positions = np.arange(geometry.max_positions, dtype=np.float32)
    angles = np.outer(positions, rotary_frequencies(geometry.head_dim, geometry.rope_theta))
    return np.cos(angles), np.sin(angles)


def rotary_frequencies(head_dim: int, theta: float) -> Array:
    """theta^(-2i/D), float32 (D / 2)."""
    channels = np.arange(0, head_dim, 2, dtype=np.float32) / head_dim
    return np.asarray(1.0 / np.float32(theta) ** channels)


def _rotary_constants(graph: ModelGraph, geometry: AttentionGeometry) -> tuple[Value, Value]:
    cos, sin = rotary_tables(geometry)
    return (
        graph.weight(as_weight("rotary.cos", cos), graph.compute),
        graph.weight(as_weight("rotary.sin", sin), graph.compute),
    )


def _like(value: Value, pattern: Value) -> Value:
    """Give a type to the output of an operator that shape inference does not know."""
    assert pattern.dtype is not None
    value.dtype = pattern.dtype
    return value


DIALECTS: dict[str, type[ModelGraph]] = {
    graph.dialect: graph for graph in (OrtGraph, PortableGraph)
}
