"""Graphs of the portable dialect: standard ONNX (opset 24), for TensorRT 10.15 and newer.

Its operators for attention, rotary embeddings and caches are the ones that TensorRT has layers for.
"""

from __future__ import annotations

from export.graph.model_graph import AttentionGeometry, CachedAttention, KeyValues
from export.graph.rotary import rotary_weights
from export.graph.standard_graph import MASKED, MaskedAttention, StandardGraph
from export.graph.writer import Value
from formats.weights import Weight


class PortableGraph(StandardGraph):
    """The newest standard operators."""

    dialect = "portable"
    opset = 24
    ir_version = 12

    def rms_norm(self, x: Value, weight: Weight, epsilon: float) -> Value:
        return self.op.RMSNormalization(x, self.weight(weight), axis=-1, epsilon=epsilon)

    def attention(
        self, geometry: AttentionGeometry, past_length: Value, x: Value
    ) -> CachedAttention:
        return _StandardAttention(self, geometry, past_length, x)


class _StandardAttention(MaskedAttention):
    """RotaryEmbedding, TensorScatter and Attention.

    TensorRT ignores Attention's `nonpad_kv_seqlen` and aligns `is_causal` to the upper left, hence
    the mask.
    """

    def __init__(
        self, graph: PortableGraph, geometry: AttentionGeometry, past_length: Value, x: Value
    ) -> None:
        super().__init__(graph, geometry, past_length, x)
        self._cos, self._sin = rotary_weights(graph, geometry, graph.compute)
        self._write_index = past_length
        self._mask = graph.narrow(graph.op.Where(self._visible, 0.0, MASKED))

    def _rotate(self, heads: Value) -> Value:
        return self.graph.op.RotaryEmbedding(heads, self._cos, self._sin, self._position_ids)

    def _longer(self, past: Value, new: Value) -> Value:
        return self.graph.op.TensorScatter(past, new, self._write_index, axis=2)

    def _attend(self, query: Value, present: KeyValues) -> Value:
        return self.graph.op.Attention(query, present.key, present.value, self._mask)
