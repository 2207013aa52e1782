"""Graphs of the basic dialect: standard ONNX (opset 20) for TensorRT 10.3 and newer.

JetPack 6 has TensorRT 10.3, whose parser knows no operators for attention, rotary embeddings, RMS
norms or caches (`export.graph.operators_10_3` lists what it knows). They are written out here.

Scores of attention are float32 products of values that are rounded to the graph's own precision
before. No sum of such products can be too large for float32, and a GPU that rounds factors to TF32
(ten bits of mantissa, as float16 has) changes none of them.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from commands.errors import UserError
from export.graph.model_graph import AttentionGeometry, CachedAttention, KeyValues
from export.graph.operators_10_3 import INT4_OPSET, beyond
from export.graph.precisions import Precision
from export.graph.rotary import rotary_weights
from export.graph.standard_graph import MASKED, MaskedAttention, StandardGraph
from export.graph.writer import Value
from formats.weights import Weight, as_weight

NORM, ROTARY, SCORES = "norm", "rotary", "scores"  # scopes of nodes that compute in float32
SUM_WIDTH = 32  # entries of a block of a cumulative sum


class BasicGraph(StandardGraph):
    """Operators that TensorRT 10.3 has, and all later ones."""

    dialect = "basic"
    opset = 20
    ir_version = 10
    caches_in_place = False

    @classmethod
    def opset_for(cls, precision: Precision) -> int:
        return INT4_OPSET if precision == "int4" else cls.opset

    def model(self) -> ir.Model:
        model = super().model()
        if found := beyond(model):
            raise UserError(f"{self.name}: TensorRT 10.3 cannot read it: {'; '.join(found[:3])}")
        return model

    def rms_norm(self, x: Value, weight: Weight, epsilon: float) -> Value:
        op = self.op
        with self.scope(NORM):
            mean = op.ReduceMean(op.Mul(x, x), [-1], keepdims=1)
            normed = op.Div(x, op.Sqrt(op.Add(mean, epsilon)))
            return op.Mul(normed, self.weight(weight))

    def cumulative(self, x: Value, *, exclusive: bool = False) -> Value:
        """Sums in blocks, because TensorRT 10.3 makes a loop of CumSum, which no CUDA graph holds.

        An entry's sum is what its own block has before it, plus the sums of the blocks before.
        """
        assert x.shape is not None
        op, entries = self.op, x.shape[-1]
        assert isinstance(entries, int)
        blocks = -(-entries // SUM_WIDTH)
        x = op.Pad(x, [0, 0, 0, 0, 0, blocks * SUM_WIDTH - entries])
        x = op.Reshape(x, [0, 0, blocks, SUM_WIDTH])
        inside = self._sums(x, SUM_WIDTH, exclusive=exclusive)
        totals = op.ReduceSum(x, [-1], keepdims=0)  # (rows, N, blocks)
        before = self._sums(totals, blocks, exclusive=True)
        sums = op.Add(inside, op.Unsqueeze(before, [-1]))
        return op.Slice(op.Reshape(sums, [0, 0, blocks * SUM_WIDTH]), [0], [entries], [2])

    def _sums(self, x: Value, count: int, *, exclusive: bool) -> Value:
        """Cumulative sums of x (…, count) as sums of chosen entries.

        Not a matrix product, which would round x to TF32 on GPUs.
        """
        name, chosen = ("before", np.tri(count, k=-1)) if exclusive else ("until", np.tri(count))
        flags = self.weight(as_weight(f"{name}.{count}", chosen.astype(np.float32)))
        return self.op.ReduceSum(self.op.Mul(self.op.Unsqueeze(x, [-2]), flags), [-1], keepdims=0)

    def attention(
        self, geometry: AttentionGeometry, past_length: Value, x: Value
    ) -> CachedAttention:
        return _WrittenOutAttention(self, geometry, past_length, x)


class _WrittenOutAttention(MaskedAttention):
    """Products and a softmax, over caches that each call writes anew by a select over positions."""

    def __init__(
        self, graph: BasicGraph, geometry: AttentionGeometry, past_length: Value, x: Value
    ) -> None:
        super().__init__(graph, geometry, past_length, x)
        op = graph.op
        self._mask = op.Where(self._visible, 0.0, MASKED)  # (rows, 1, S, capacity), float32
        self._cos, self._sin = (
            op.Unsqueeze(op.Gather(table, self._position_ids, axis=0), [1])
            for table in rotary_weights(graph, geometry, "float32")
        )  # (rows, 1, S, D / 2)
        offset = op.Sub(self._cached, self._past_length)  # (rows, capacity)
        newest = op.Sub(self._new, [1])
        is_new = op.And(op.GreaterOrEqual(offset, [0]), op.LessOrEqual(offset, newest))
        self._is_new = op.Unsqueeze(is_new, [1, 3])  # (rows, 1, capacity, 1)
        source = op.Min(op.Max(offset, [0]), newest)
        self._source = op.Unsqueeze(source, [2])  # (rows, capacity, 1)

    def _rotate(self, heads: Value) -> Value:
        """The first half of the channels and the second are two sides of a plane. In float32."""
        op = self.graph.op
        with self.graph.scope(ROTARY):
            a, b = op.Split(self.graph.widen(heads), num_outputs=2, axis=-1, _outputs=2)
            return op.Concat(
                op.Sub(op.Mul(a, self._cos), op.Mul(b, self._sin)),
                op.Add(op.Mul(b, self._cos), op.Mul(a, self._sin)),
                axis=-1,
            )

    def _longer(self, past: Value, new: Value) -> Value:
        op = self.graph.op
        by_position = op.Transpose(self.graph.narrow(new), perm=[0, 2, 1, 3])  # (rows, S, KV, D)
        spread = op.GatherND(by_position, self._source, batch_dims=1)  # (rows, capacity, KV, D)
        return op.Where(self._is_new, op.Transpose(spread, perm=[0, 2, 1, 3]), past)

    def _attend(self, query: Value, present: KeyValues) -> Value:
        """Query heads that share keys and values are one matrix of as many rows."""
        graph, op, sizes = self.graph, self.graph.op, self.geometry
        kv_heads, heads = sizes.decoders * sizes.kv_heads, sizes.decoders * sizes.query_heads
        by_key = [0, kv_heads, -1, sizes.head_dim]  # (rows, KV, H / KV · S, D)
        query = op.Reshape(graph.narrow(query), by_key)
        with graph.scope(SCORES):
            keys = op.Transpose(graph.widen(present.key), perm=[0, 1, 3, 2])
            scores = op.MatMul(graph.widen(query), keys)
            scores = op.Reshape(scores, [0, heads, -1, sizes.max_positions])
            scores = op.Add(op.Mul(scores, 1.0 / math.sqrt(sizes.head_dim)), self._mask)
            shares = op.Softmax(scores, axis=-1)
        shares = op.Reshape(graph.narrow(shares), [0, kv_heads, -1, sizes.max_positions])
        return op.Reshape(op.MatMul(shares, present.value), [0, heads, -1, sizes.head_dim])
