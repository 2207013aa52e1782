"""Qwen2 decoder layers with a KV cache: what the backbone and transformer heads are made of.

In: hidden states (B, S, H) and caches of fixed capacity. Out: the residual stream, and the
caches with this call's positions written. B is 1, or N heads side by side with weights of
their own. It does not know what comes before and after the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from export.graph import AttentionGeometry, Graph, KeyValues, Value
from export.weights import Weight, as_weight, concatenate, stack
from runtime.bundle import CAPACITY
from train.lm_config import LanguageModelConfig


@dataclass(frozen=True)
class DecoderWeights:
    """One layer. Projections that read the same input are fused along their outputs."""

    input_norm: Weight  # (H)
    qkv: Weight  # ((heads + 2·KV)·D, H)
    qkv_bias: Weight  # ((heads + 2·KV)·D)
    attention_output: Weight  # (H, heads·D)
    mlp_norm: Weight  # (H)
    gate_up: Weight  # (2·I, H)
    down: Weight  # (H, I)


def decoder_weights(weight: Callable[[str], Weight], layer: str) -> DecoderWeights:
    """The weights of the layer called `layer`, fused."""

    def fused(name: str, parts: Sequence[str]) -> Weight:
        return concatenate(f"{layer}.{name}", [weight(f"{layer}.{part}") for part in parts])

    projections = [f"self_attn.{letter}_proj" for letter in "qkv"]
    return DecoderWeights(
        input_norm=weight(f"{layer}.input_layernorm.weight"),
        qkv=fused("self_attn.qkv.weight", [f"{name}.weight" for name in projections]),
        qkv_bias=fused("self_attn.qkv.bias", [f"{name}.bias" for name in projections]),
        attention_output=weight(f"{layer}.self_attn.o_proj.weight"),
        mlp_norm=weight(f"{layer}.post_attention_layernorm.weight"),
        gate_up=fused("mlp.gate_up.weight", ["mlp.gate_proj.weight", "mlp.up_proj.weight"]),
        down=weight(f"{layer}.mlp.down_proj.weight"),
    )


def stack_layers(name: str, layers: Sequence[DecoderWeights]) -> DecoderWeights:
    """The same layer of N heads as one layer over a batch of N.

    Norm weights move into the projections that follow them, because a norm operator has one
    weight for the whole batch.
    """
    joined = {
        field.name: stack(f"{name}.{field.name}", [getattr(layer, field.name) for layer in layers])
        for field in fields(DecoderWeights)
    }
    count, hidden = joined["input_norm"].shape
    unit = as_weight("unit_norm", np.ones(hidden))
    return DecoderWeights(
        input_norm=unit,
        qkv=joined["qkv"].scaled(joined["input_norm"].reshaped(count, 1, hidden)),
        qkv_bias=joined["qkv_bias"].reshaped(count, 1, joined["qkv_bias"].shape[-1]),
        attention_output=joined["attention_output"],
        mlp_norm=unit,
        gate_up=joined["gate_up"].scaled(joined["mlp_norm"].reshaped(count, 1, hidden)),
        down=joined["down"],
    )


@dataclass(frozen=True)
class LayerCaches:
    """The cache tensors of `layers` layers: declared, filled by the layers, and left."""

    graph: Graph
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
                self.graph.output(names[1].format(layer=layer), tensor, "float32", self._shape)

    @property
    def _shape(self) -> tuple[int | str, ...]:
        return (self.geometry.batch, self.geometry.kv_heads, CAPACITY, self.geometry.head_dim)

    def _state(self, names: tuple[str, str], layer: int) -> Value:
        past, present = (name.format(layer=layer) for name in names)
        return self.graph.state(past, present, "float32", self._shape, in_place=True)


def attention_geometry(config: LanguageModelConfig, batch: int) -> AttentionGeometry:
    """Attention sizes of the model, for `batch` sequences of the same length."""
    return AttentionGeometry(
        batch=batch,
        query_heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        max_positions=config.max_position_embeddings,
        rope_theta=config.rope_theta,
    )


def run_layers(
    graph: Graph,
    layers: Sequence[DecoderWeights],
    x: Value,
    past_length: Value,
    caches: LayerCaches,
    epsilon: float,
) -> tuple[Value, Value]:
    """Run all layers on x (B, S, H) and leave their caches.

    Returns (x, update): the residual stream is their sum, not yet added because the norm that
    follows may add at no cost.
    """
    past = caches.declare()
    attention = graph.attention(caches.geometry, past_length, x, past[0].key)
    update: Value | None = None
    present = []
    for number, (weights, cache) in enumerate(zip(layers, past, strict=True)):
        with graph.scope(f"layer_{number}"):
            normed, x = _add_norm(graph, x, update, weights.input_norm, epsilon)
            qkv = graph.linear(normed, weights.qkv, weights.qkv_bias)
            attended, cache = attention(qkv, cache)
            update = graph.linear(attended, weights.attention_output)
            normed, x = _add_norm(graph, x, update, weights.mlp_norm, epsilon)
            update = _mlp(graph, normed, weights)
        present.append(cache)
    caches.leave(present)
    assert update is not None
    return x, update


def _add_norm(
    graph: Graph, x: Value, update: Value | None, weight: Weight, epsilon: float
) -> tuple[Value, Value]:
    """(norm of the updated residual stream, the updated residual stream)."""
    if update is None:
        return graph.rms_norm(x, weight, epsilon), x
    return graph.add_rms_norm(update, x, weight, epsilon)


def _mlp(graph: Graph, x: Value, weights: DecoderWeights) -> Value:
    """down(silu(gate(x)) · up(x))."""
    gate_up = graph.linear(x, weights.gate_up)
    gate, up = graph.op.Split(gate_up, num_outputs=2, axis=-1, _outputs=2)
    return graph.linear(graph.op.Mul(graph.silu(gate), up), weights.down)
