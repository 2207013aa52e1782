"""The decoder layers of a language model's backbone and of its transformer heads, packed.

In: a checkpoint and the number formats of its products. Out: matrices and norms by the names of
docs/native-engine.md. In few bits, layers are fitted as in `export.language_model.half_range`,
because calibrations measured them so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from export.language_model.decoder_layers import attention_geometry
from export.language_model.decoder_weights import DecoderWeights, decoder_weights, fold_norms
from export.language_model.half_range import (
    NO_GAINS,
    LayerGains,
    find_fit,
    fit_layer,
    scale_layer,
)
from export.native.matrix import Matrix
from export.native.products import Products, make_matrix
from export.native.weight_file import Tensor
from export.native.widths import filled_tensor
from export.readers.checkpoint import Checkpoint
from formats.weights import Weight

BATCHED = "speech_heads.head_layers.{layer}.{weight}"  # in calibrations
FOLDED = ("qkv", "gate_up")  # projections that take the weights of a head's norms


def backbone_layers(
    checkpoint: Checkpoint, products: Products, *, is_fitted: bool
) -> Iterator[Matrix | Tensor]:
    """`layer.0.…` and following."""
    geometry = attention_geometry(checkpoint.config)
    for layer in range(checkpoint.config.num_hidden_layers):
        weights = decoder_weights(checkpoint.weight, f"model.layers.{layer}")
        gains = NO_GAINS
        if is_fitted:
            weights, gains = fit_layer(weights, geometry)
        name = f"layer.{layer}"
        yield from _norms(name, weights)
        for part, weight, bias, gain in _projections(weights, gains):
            matrix = make_matrix(
                f"{name}.{part}", weight, products.usual, products.find(weight), bias
            )
            yield replace(matrix, gain=gain)


def head_layers(
    checkpoint: Checkpoint, products: Products, *, is_fitted: bool
) -> Iterator[Matrix | Tensor]:
    """`head.0.layer.0.…` and following. All heads share a layer's gains."""
    config, heads = checkpoint.config, checkpoint.config.heads
    geometry = attention_geometry(config, decoders=heads)
    for layer in range(config.head_transformers_layer):
        parts = [
            fold_norms(
                decoder_weights(checkpoint.weight, f"speech_heads.{head}.head_layers.{layer}")
            )
            for head in range(heads)
        ]
        gains = NO_GAINS
        if is_fitted:
            fits = [find_fit(weights, geometry) for weights in parts]
            gains = LayerGains(
                attention=max(fit.gains.attention for fit in fits),
                mlp=max(fit.gains.mlp for fit in fits),
            )
            parts = [
                scale_layer(weights, replace(fit, gains=gains))
                for weights, fit in zip(parts, fits, strict=True)
            ]
        for head, weights in enumerate(parts):
            name = f"head.{head}.layer.{layer}"
            yield from _norms(name, weights)
            for part, weight, bias, gain in _projections(weights, gains):
                batch = BATCHED.format(layer=layer, weight=part)
                quantized = products.find_in_batch(batch, heads, head, weight)
                form = products.folded if part in FOLDED else products.usual
                matrix = make_matrix(f"{name}.{part}", weight, form, quantized, bias)
                yield replace(matrix, gain=gain)


def _norms(name: str, weights: DecoderWeights) -> Iterator[Tensor]:
    yield filled_tensor(f"{name}.input_norm", weights.input_norm)
    yield filled_tensor(f"{name}.mlp_norm", weights.mlp_norm)


def _projections(
    weights: DecoderWeights, gains: LayerGains
) -> Iterator[tuple[str, Weight, Weight | None, float]]:
    """(name, weight, bias, gain) of each product."""
    yield "qkv", weights.qkv, weights.qkv_bias, 1.0
    yield "attention_output", weights.attention_output, None, gains.attention
    yield "gate_up", weights.gate_up, None, 1.0
    yield "down", weights.down, None, gains.mlp
