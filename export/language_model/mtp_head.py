"""The heads of a multi-token-prediction model as one graph, from hidden state to next input.

In: a checkpoint with N speech heads. Out: a `Graph` that scores all heads in fused products,
draws N codes, applies the `<eosp>` and `<|speech_pad|>` rules of the published decoder
(arXiv 2506.12537) and returns the embedding to feed back. Scores, draws and embeddings are
float32 at every precision, so that the same hidden state gives the same codes; only the decoder
layers of transformer heads are computed in the graph's own format. It knows no text and no audio.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.graph.dialects import new_graph
from export.graph.graph import Graph
from export.graph.precisions import Precision, WeightFormats
from export.graph.writer import Value
from export.language_model.code_embeddings import (
    END_CODE,
    END_ROW,
    PAD_CODE,
    PAD_ROW,
    code_embeddings,
    code_rows,
)
from export.language_model.decoder_layers import (
    LayerCaches,
    attention_geometry,
    declare_calls,
    run_layers,
)
from export.language_model.decoder_weights import DecoderWeights, decoder_weights, stack_layers
from export.language_model.sampling import any_equal, declare_sampling, draw, one_hot, penalize
from export.readers.checkpoint import Checkpoint
from formats.checkpoint.language_model_config import TOKENS_PER_FRAME
from formats.weights import Weight, stack
from runtime.bundle.names import (
    CODES,
    HIDDEN,
    KEPT_CODES,
    MAX_POSITIONS_FACT,
    MTP_HEAD,
    NEXT_EMBEDDING,
    PAST_HEAD_KEY,
    PAST_HEAD_VALUE,
    PAST_LENGTH,
    PAST_SEEN,
    POSITIONS,
    PRESENT_HEAD_KEY,
    PRESENT_HEAD_VALUE,
    PRESENT_SEEN,
    REPETITION_PENALTY,
    STOP,
)

ENTRIES = PAD_CODE + 1  # outputs of a head: codes, <eosp>, <|speech_pad|>
NEVER = -np.inf  # score of outputs that a head does not have


def build_mtp_head(
    checkpoint: Checkpoint,
    dialect: str,
    precision: Precision = "fp32",
    formats: WeightFormats | None = None,
) -> Graph:
    """Hidden states (1, positions, H) -> N codes drawn at the last position, and what follows."""
    heads = checkpoint.config.heads
    graph = new_graph(MTP_HEAD, dialect, precision, formats)
    hidden = graph.input(HIDDEN, "float32", (1, POSITIONS, checkpoint.config.hidden_size))
    scores = _SCORES[checkpoint.config.head_implement](graph, checkpoint, hidden)  # (N, entries)

    seen = graph.state(PAST_SEEN, PRESENT_SEEN, "bool", (heads, ENTRIES), in_place=False)
    penalty = graph.input(REPETITION_PENALTY, "float32", (1,))
    scores = penalize(graph, scores, seen, penalty)
    codes = draw(graph, scores, declare_sampling(graph, heads))
    stop = any_equal(graph, codes, END_CODE)
    kept = _kept_codes(graph, codes, stop, heads)
    embedding = _next_embedding(graph, checkpoint, codes, stop, kept)
    seen = graph.op.Or(seen, one_hot(graph, codes, ENTRIES))

    graph.output(CODES, codes, "int64", (heads,))
    graph.output(KEPT_CODES, kept, "int64", (1,))
    graph.output(STOP, stop, "bool", (1,))
    graph.output(NEXT_EMBEDDING, embedding, "float32", (1, 1, checkpoint.config.hidden_size))
    graph.output(PRESENT_SEEN, seen, "bool", (heads, ENTRIES))
    declare_calls(graph, checkpoint.config.max_position_embeddings)
    return graph


# Scores (N, entries) of the last position, one way per kind of head.


def _linear_scores(graph: Graph, checkpoint: Checkpoint, hidden: Value) -> Value:
    """One linear layer a head: all heads are one product."""
    weight, bias = _stacked(checkpoint, "head", outputs=ENTRIES)
    heads, entries, width = weight.shape
    fused = graph.linear(
        graph.last_position(hidden),
        weight.reshaped(heads * entries, width),
        bias.reshaped(heads * entries),
        exact=True,
    )
    return graph.op.Reshape(graph.widen(fused), [heads, entries])


def _mlp_scores(graph: Graph, checkpoint: Checkpoint, hidden: Value) -> Value:
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
    x = graph.silu(graph.op.Reshape(x, [heads, 1, inner]))
    return _project(graph, x, *_stacked(checkpoint, "head.2", outputs=ENTRIES))


def _transformer_scores(graph: Graph, checkpoint: Checkpoint, hidden: Value) -> Value:
    """Decoder layers over all positions, LayerNorm, linear: the heads are the batch."""
    config = checkpoint.config
    past_length = graph.input(PAST_LENGTH, "int64", (1,))
    graph.fact(MAX_POSITIONS_FACT, config.max_position_embeddings)
    layers = [_stacked_layer(checkpoint, layer) for layer in range(config.head_transformers_layer)]
    caches = LayerCaches(
        graph,
        attention_geometry(config, batch=config.heads),
        key_names=(PAST_HEAD_KEY, PRESENT_HEAD_KEY),
        value_names=(PAST_HEAD_VALUE, PRESENT_HEAD_VALUE),
        layers=len(layers),
    )
    x = graph.op.Expand(hidden, [config.heads, 1, 1])  # (N, S, H)
    x, update = run_layers(graph, layers, x, past_length, caches, config.rms_norm_eps)
    x = graph.op.Add(graph.last_position(x), graph.last_position(update))
    norm_weight, norm_bias = (
        parameter.reshaped(config.heads, 1, config.hidden_size)
        for parameter in _stacked(checkpoint, "head_norm")
    )
    x = graph.layer_norm(x, norm_weight, norm_bias, config.rms_norm_eps)
    return _project(graph, x, *_stacked(checkpoint, "head_proj", outputs=ENTRIES))


_SCORES = {
    "linear": _linear_scores,
    "mlp": _mlp_scores,
    "transformer": _transformer_scores,
}


def _project(graph: Graph, x: Value, weight: Weight, bias: Weight) -> Value:
    """x (N, 1, in) times weight (N, entries, in) plus bias (N, entries) -> (N, entries)."""
    heads, entries, _ = weight.shape
    scores = graph.linear(x, weight, bias.reshaped(heads, 1, entries), exact=True)
    return graph.op.Reshape(graph.widen(scores), [heads, entries])


def _stacked(
    checkpoint: Checkpoint, module: str, outputs: int | None = None
) -> tuple[Weight, Weight]:
    """(weight, bias) of one module of all heads, side by side.

    With `outputs`, heads with fewer get zero weights and a bias that is never drawn.
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


# What the drawn codes mean.


def _kept_codes(graph: Graph, codes: Value, stop: Value, heads: int) -> Value:
    """None after <eosp>; else the codes of the frames in front of the first pad: int64 (1)."""
    op = graph.op
    is_pad = op.Cast(op.Equal(codes, PAD_CODE), to=ir.DataType.INT64)
    first_pad = op.ArgMax(op.Unsqueeze(is_pad, [0]), axis=1, keepdims=0)  # (1)
    whole_frames = op.Mul(op.Div(first_pad, TOKENS_PER_FRAME), TOKENS_PER_FRAME)
    kept = op.Where(any_equal(graph, codes, PAD_CODE), whole_frames, heads)
    return op.Where(stop, 0, kept)


def _next_embedding(
    graph: Graph, checkpoint: Checkpoint, codes: Value, stop: Value, kept: Value
) -> Value:
    """Mean embedding (1, 1, H) of the kept codes and pads in place of the rest; or <eosp>'s."""
    op, heads = graph.op, checkpoint.config.heads
    codebooks = graph.constant(np.arange(heads) % TOKENS_PER_FRAME, "codebooks")
    position = graph.constant(np.arange(heads), "positions_in_step")
    rows = op.Where(op.Less(position, kept), code_rows(graph, codes, codebooks), PAD_ROW)
    rows = op.Where(stop, END_ROW, rows)
    embeddings = op.Gather(graph.weight(code_embeddings(checkpoint)), rows, axis=0)  # (N, H)
    return op.Unsqueeze(op.ReduceMean(embeddings, [0], keepdims=1), [0])
