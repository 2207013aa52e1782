"""Qwen2 decoder layers with a KV cache: what the backbone and transformer heads are made of.

In: hidden states float32 (rows, S, H) and caches of fixed capacity. Out: the residual stream,
float32 at every precision, and the caches with this call's positions written. Several decoders can
run side by side, each with its own weights, as transformer heads do. It does not know what comes
before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.graph.model_graph import AttentionGeometry, CachedAttention, KeyValues, ModelGraph
from export.graph.precisions import QUANTIZED
from export.graph.writer import Value
from export.language_model.decoder_weights import DecoderWeights
from export.language_model.half_range import NO_GAINS, LayerGains, fit_layer
from formats.checkpoint.language_model_config import LanguageModelConfig
from formats.weights import Weight
from runtime.bundle.manifest import Dimension, Range
from runtime.bundle.names import PREFILL, ROWS, STEP

USUAL_PREFILL = 64  # positions of a sentence's prompt
LONGEST_PREFILL = 512  # longer prompts come in parts


@dataclass(frozen=True)
class LayerCaches:
    """The cache tensors of `layers` layers: inputs of the graph, and outputs after its layers."""

    graph: ModelGraph
    geometry: AttentionGeometry
    layers: int
    key_names: tuple[str, str]  # past and present, with {layer}
    value_names: tuple[str, str]

    def declare(self) -> list[KeyValues]:
        """Past keys and values of every layer, as inputs of the graph."""
        return [
            KeyValues(self._state(self.key_names, layer), self._state(self.value_names, layer))
            for layer in range(self.layers)
        ]

    def leave(self, present: Sequence[KeyValues]) -> None:
        """Present keys and values of every layer, as outputs of the graph."""
        for layer, tensors in enumerate(present):
            for names, tensor in zip((self.key_names, self.value_names), tensors, strict=True):
                self.graph.output(
                    names[1].format(layer=layer), tensor, self.graph.compute, self._shape
                )

    @property
    def _shape(self) -> tuple[Dimension, ...]:
        sizes = self.geometry
        capacity = self.graph.capacity(sizes.max_positions)
        return (ROWS, sizes.decoders * sizes.kv_heads, capacity, sizes.head_dim)

    def _state(self, names: tuple[str, str], layer: int) -> Value:
        past, present = (name.format(layer=layer) for name in names)
        in_place = self.graph.caches_in_place
        return self.graph.state(past, present, self.graph.compute, self._shape, in_place=in_place)


def attention_geometry(config: LanguageModelConfig, decoders: int = 1) -> AttentionGeometry:
    """Attention sizes of the model, for `decoders` layers side by side."""
    return AttentionGeometry(
        decoders=decoders,
        query_heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        max_positions=config.max_position_embeddings,
        rope_theta=config.rope_theta,
    )


def declare_calls(graph: ModelGraph, max_positions: int) -> None:
    """How the runtime calls a graph over positions: with the prompt, then one at a time."""
    longest = min(LONGEST_PREFILL, max_positions)
    graph.profile(PREFILL, positions=Range(1, min(USUAL_PREFILL, longest), longest))
    graph.profile(STEP, positions=Range(1, 1, 1))


def run_layers(
    graph: ModelGraph,
    layers: Sequence[DecoderWeights],
    x: Value,
    past_length: Value,
    caches: LayerCaches,
    epsilon: float,
) -> tuple[Value, Value]:
    """Run all layers on x (rows, S, H) and output their caches.

    Returns (x, update). The residual stream is their sum. They are not added yet, because the norm
    that follows can do that at no cost. With several decoders, both are (decoders, rows · S, H).
    """
    past = caches.declare()
    attention = graph.attention(caches.geometry, past_length, x)
    if caches.geometry.decoders > 1:
        x = graph.op.Reshape(x, [1, -1, layers[0].input_norm.shape[-1]])
        x = graph.op.Expand(x, [caches.geometry.decoders, 1, 1])
    update: Value | None = None
    present = []
    for number, (weights, cache) in enumerate(zip(layers, past, strict=True)):
        gains = NO_GAINS
        if graph.compute == "float16" or graph.precision in QUANTIZED:
            weights, gains = fit_layer(weights, caches.geometry)
        with graph.scope(f"layer_{number}"):
            layer = _Layer(graph, weights, gains, epsilon)
            x, update, cache = layer.run(x, update, attention, cache)
        present.append(cache)
    caches.leave(present)
    assert update is not None
    return x, update


@dataclass(frozen=True)
class _Layer:
    """Attention and MLP, each behind a norm and in front of an addition."""

    graph: ModelGraph
    weights: DecoderWeights
    gains: LayerGains
    epsilon: float

    def run(
        self, x: Value, update: Value | None, attention: CachedAttention, cache: KeyValues
    ) -> tuple[Value, Value, KeyValues]:
        """(residual stream, its next update, the cache)."""
        graph, weights = self.graph, self.weights
        normed, x = self._add_norm(x, update, weights.input_norm)
        qkv = graph.linear(normed, weights.qkv, weights.qkv_bias)
        attended, cache = attention(qkv, cache)
        update = self._update(attended, weights.attention_output, self.gains.attention)
        normed, x = self._add_norm(x, update, weights.mlp_norm)
        gate_up = graph.linear(normed, weights.gate_up)
        gate, up = graph.op.Split(gate_up, num_outputs=2, axis=-1, _outputs=2)
        product = graph.op.Mul(graph.silu(gate), up)
        return x, self._update(product, weights.down, self.gains.mlp), cache

    def _add_norm(self, x: Value, update: Value | None, weight: Weight) -> tuple[Value, Value]:
        """(norm of the updated residual stream, the updated residual stream)."""
        if update is None:
            return self.graph.rms_norm(x, weight, self.epsilon), x
        return self.graph.add_rms_norm(update, x, weight, self.epsilon)

    def _update(self, x: Value, weight: Weight, gain: float) -> Value:
        update = self.graph.widen(self.graph.linear(x, weight))
        return update if gain == 1.0 else self.graph.op.Mul(update, gain)
