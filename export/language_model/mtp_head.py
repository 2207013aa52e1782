"""The heads of a multi-token-prediction model as one graph, from hidden state to next input.

In: a checkpoint with N speech heads. Out: a `ModelGraph` that scores all heads in fused products,
draws N codes, applies the `<eosp>` and `<|speech_pad|>` rules of the published decoder
(arXiv 2506.12537) and returns the embedding to feed back. Scores, draws and embeddings are
float32 at every precision, so that the same hidden state gives the same codes. Only the decoder
layers of transformer heads are computed in the graph's precision. It knows no text and no audio.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from export.graph.dialects import new_graph
from export.graph.model_graph import ModelGraph
from export.graph.precisions import GraphNumbers
from export.graph.writer import Value
from export.language_model.code_embeddings import (
    END,
    PAD,
    StreamCodes,
    code_embeddings,
    codes_of_heads,
)
from export.language_model.decoder_layers import declare_calls
from export.language_model.head_scores import HEAD_SCORES
from export.language_model.sampling import any_equal, declare_sampling, draw, one_hot, penalize
from export.readers.checkpoint import Checkpoint
from runtime.bundle.interfaces import MTP_SPECIAL
from runtime.bundle.names import (
    CODES,
    HIDDEN,
    KEPT_CODES,
    MTP_HEAD,
    NEXT_EMBEDDING,
    PAST_SEEN,
    POSITIONS,
    PRESENT_SEEN,
    REPETITION_PENALTY,
    ROWS,
    STOP,
)


def build_mtp_head(checkpoint: Checkpoint, numbers: GraphNumbers) -> ModelGraph:
    """Hidden states (rows, positions, H) -> N codes drawn at the last position, how many of them
    count, whether speech ends, and the embedding to feed back."""
    config = checkpoint.config
    heads, width = config.heads, config.hidden_size
    entries = config.streams.largest + MTP_SPECIAL
    graph = new_graph(MTP_HEAD, numbers)
    hidden = graph.input(HIDDEN, "float32", (ROWS, POSITIONS, width))
    scores = HEAD_SCORES[config.head_implement](graph, checkpoint, hidden, entries)

    seen = graph.state(PAST_SEEN, PRESENT_SEEN, "bool", (ROWS, heads, entries), in_place=False)
    penalty = graph.input(REPETITION_PENALTY, "float32", (ROWS,))
    scores = penalize(graph, scores, seen, penalty)
    codes = draw(graph, scores, entries, declare_sampling(graph, heads))
    stream_codes = codes_of_heads(graph, config.streams, heads)
    stop = any_equal(graph, codes, stream_codes.special(END))
    kept = _kept_codes(stream_codes, codes, stop, heads)
    embedding = _next_embedding(stream_codes, checkpoint, codes, stop, kept)

    graph.output(CODES, codes, "int64", (ROWS, heads))
    graph.output(KEPT_CODES, graph.op.Squeeze(kept, [1]), "int64", (ROWS,))
    graph.output(STOP, graph.op.Squeeze(stop, [1]), "bool", (ROWS,))
    graph.output(NEXT_EMBEDDING, embedding, "float32", (ROWS, 1, width))
    seen = graph.op.Or(seen, one_hot(graph, codes, entries))
    graph.output(PRESENT_SEEN, seen, "bool", (ROWS, heads, entries))
    declare_calls(graph, config.max_position_embeddings)
    return graph


def _kept_codes(stream_codes: StreamCodes, codes: Value, stop: Value, heads: int) -> Value:
    """How many codes count: none in a step with <eosp>, otherwise those of the frames before the
    first pad. int64 (rows, 1).
    """
    op, in_frame = stream_codes.graph.op, stream_codes.streams.count
    pad = stream_codes.special(PAD)
    is_pad = op.Cast(op.Equal(codes, pad), to=ir.DataType.INT64)
    first_pad = op.ArgMax(is_pad, axis=1, keepdims=1)
    whole_frames = op.Mul(op.Div(first_pad, in_frame), in_frame)
    kept = op.Where(any_equal(stream_codes.graph, codes, pad), whole_frames, heads)
    return op.Where(stop, 0, kept)


def _next_embedding(
    stream_codes: StreamCodes, checkpoint: Checkpoint, codes: Value, stop: Value, kept: Value
) -> Value:
    """(rows, 1, H): the mean embedding of the step's codes, where pads replace those that do not
    count. In a step with <eosp>, the embedding of <eosp>."""
    graph, op, special = stream_codes.graph, stream_codes.graph.op, stream_codes.streams.total
    position = graph.constant(np.arange(checkpoint.config.heads), "positions_in_step")
    picked = op.Where(op.Less(position, kept), stream_codes.rows(codes), special + PAD)
    picked = op.Where(stop, special + END, picked)
    embeddings = op.Gather(graph.weight(code_embeddings(checkpoint)), picked, axis=0)
    return op.ReduceMean(embeddings, [1], keepdims=1)
