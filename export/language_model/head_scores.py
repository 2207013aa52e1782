"""Scores of all heads of a multi-token-prediction model, for each kind of head.

In: hidden states (rows, S, H). Out: scores float32 (rows, N, entries) of the last position. Fused
or batched products compute all heads side by side. It draws no codes.
"""

from __future__ import annotations

import numpy as np

from export.graph.model_graph import ModelGraph
from export.graph.writer import Value
from export.language_model.decoder_layers import LayerCaches, attention_geometry, run_layers
from export.language_model.decoder_weights import DecoderWeights, decoder_weights, stack_layers
from export.readers.checkpoint import Checkpoint
from formats.weights import Weight, stack
from runtime.bundle.names import (
    MAX_POSITIONS_FACT,
    PAST_HEAD_KEY,
    PAST_HEAD_VALUE,
    PAST_LENGTH,
    PRESENT_HEAD_KEY,
    PRESENT_HEAD_VALUE,
    ROWS,
)

NEVER = -np.inf  # score of entries that a head does not have


def linear_scores(graph: ModelGraph, checkpoint: Checkpoint, hidden: Value, entries: int) -> Value:
    """One linear layer for each head; one product computes all of them."""
    weight, bias = _stacked(checkpoint, "head", outputs=entries)
    heads, _, width = weight.shape
    fused = graph.linear(
        graph.last_position(hidden),
        weight.reshaped(heads * entries, width),
        bias.reshaped(heads * entries),
        exact=True,
    )
    return graph.op.Reshape(graph.widen(fused), [-1, heads, entries])


def mlp_scores(graph: ModelGraph, checkpoint: Checkpoint, hidden: Value, entries: int) -> Value:
    """Linear, SiLU, linear: the first layers are one product, the second a batched one."""
    heads = checkpoint.config.heads
    weight, bias = _stacked(checkpoint, "head.0")  # (N, 2·H, H)
    _, inner, width = weight.shape
    x = graph.linear(
        graph.last_position(hidden),
        weight.reshaped(heads * inner, width),
        bias.reshaped(heads * inner),
        exact=True,
    )
    x = graph.op.Transpose(graph.op.Reshape(x, [-1, heads, inner]), perm=[1, 0, 2])
    # SiLU stands between the two because ONNX Runtime 1.32 crashes if a product in few bits splits
    # the direct result of a transposition.
    x = graph.silu(x)
    return _project(graph, x, *_stacked(checkpoint, "head.2", outputs=entries))


def transformer_scores(
    graph: ModelGraph, checkpoint: Checkpoint, hidden: Value, entries: int
) -> Value:
    """Decoder layers over all positions, LayerNorm, linear."""
    config = checkpoint.config
    past_length = graph.input(PAST_LENGTH, "int64", (ROWS,))
    graph.fact(MAX_POSITIONS_FACT, config.max_position_embeddings)
    layers = [_stacked_layer(checkpoint, layer) for layer in range(config.head_transformers_layer)]
    caches = LayerCaches(
        graph,
        attention_geometry(config, decoders=config.heads),
        key_names=(PAST_HEAD_KEY, PRESENT_HEAD_KEY),
        value_names=(PAST_HEAD_VALUE, PRESENT_HEAD_VALUE),
        layers=len(layers),
    )
    x, update = run_layers(graph, layers, hidden, past_length, caches, config.rms_norm_eps)
    x = _last_of_rows(graph, hidden, graph.op.Add(x, update), config.heads)
    norm_weight, norm_bias = (
        parameter.reshaped(config.heads, 1, config.hidden_size)
        for parameter in _stacked(checkpoint, "head_norm")
    )
    x = graph.layer_norm(x, norm_weight, norm_bias, config.rms_norm_eps)
    return _project(graph, x, *_stacked(checkpoint, "head_proj", outputs=entries))


HEAD_SCORES = {
    "linear": linear_scores,
    "mlp": mlp_scores,
    "transformer": transformer_scores,
}


def _last_of_rows(graph: ModelGraph, hidden: Value, x: Value, heads: int) -> Value:
    """The last position of each row, (N, rows, H). x: (N, rows · S, H). hidden: (rows, S, H)."""
    op = graph.op
    by_row = op.Concat([heads], op.Shape(hidden), axis=0)
    return op.Squeeze(op.Slice(op.Reshape(x, by_row), [-1], [2**31 - 1], [2]), [2])


def _project(graph: ModelGraph, x: Value, weight: Weight, bias: Weight) -> Value:
    """x (N, rows, in) times weight (N, entries, in) plus bias (N, entries): (rows, N, entries)."""
    heads, entries, _ = weight.shape
    scores = graph.linear(x, weight, bias.reshaped(heads, 1, entries), exact=True)
    return graph.op.Transpose(graph.widen(scores), perm=[1, 0, 2])


def _stacked(
    checkpoint: Checkpoint, module: str, outputs: int | None = None
) -> tuple[Weight, Weight]:
    """(weight, bias) of one module of all heads, side by side.

    With `outputs`, heads with fewer outputs get more, with zero weights and a bias of -inf, so that
    they are never drawn.
    """
    modules = [f"speech_heads.{head}.{module}" for head in range(checkpoint.config.heads)]
    weights = [checkpoint.weight(f"{name}.weight") for name in modules]
    biases = [checkpoint.weight(f"{name}.bias") for name in modules]
    if outputs is not None:
        weights = [weight.padded(outputs, 0.0) for weight in weights]
        biases = [bias.padded(outputs, NEVER) for bias in biases]
    name = f"speech_heads.{module}"
    return stack(f"{name}.weight", weights), stack(f"{name}.bias", biases)


def _stacked_layer(checkpoint: Checkpoint, layer: int) -> DecoderWeights:
    parts = [
        decoder_weights(checkpoint.weight, f"speech_heads.{head}.head_layers.{layer}")
        for head in range(checkpoint.config.heads)
    ]
    return stack_layers(f"speech_heads.head_layers.{layer}", parts)
