"""The weights of one Qwen2 decoder layer, or of the same layer of N heads.

In: a checkpoint's weights by name. Out: `DecoderWeights`, with the projections that read the
same input fused, still unread. It knows nothing about graphs and number formats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from formats.weights import Weight, as_weight, concatenate, stack


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

    Norm weights are multiplied into the projections that follow them, because a norm operator has
    one weight for the whole batch.
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


def fold_norms(weights: DecoderWeights) -> DecoderWeights:
    """The same layer with its norms' weights multiplied into the projections that follow them, as
    `stack_layers` does it."""
    unit = as_weight("unit_norm", np.ones(weights.input_norm.shape))
    return replace(
        weights,
        input_norm=unit,
        qkv=weights.qkv.scaled(weights.input_norm),
        mlp_norm=unit,
        gate_up=weights.gate_up.scaled(weights.mlp_norm),
    )
