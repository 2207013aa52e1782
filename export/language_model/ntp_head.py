"""The head of a next-token-prediction model as a graph: one code a step, a b c a b c …

In: a checkpoint. Out: a `Graph` that draws the next code from the codebook whose turn it is,
or `<eosp>`; other tokens cannot be drawn, so their output rows are left out. Everything is
float32 at every precision, so that the same hidden state gives the same codes. It knows no text
and does not drop incomplete frames: the decoding loop does.
"""

from __future__ import annotations

import numpy as np

from export.graph.dialects import new_graph
from export.graph.graph import Graph
from export.graph.precisions import Precision, WeightFormats
from export.graph.writer import Value
from export.language_model.code_embeddings import END_CODE, END_ROW, code_embeddings, code_rows
from export.language_model.decoder_layers import declare_calls
from export.language_model.sampling import any_equal, declare_sampling, draw, one_hot, penalize
from export.readers.checkpoint import Checkpoint
from formats.checkpoint.language_model_config import TOKENS_PER_FRAME
from runtime.bundle.names import (
    CODES,
    HIDDEN,
    KEPT_CODES,
    NEXT_EMBEDDING,
    NTP_HEAD,
    PAST_SEEN,
    PAST_SLOT,
    POSITIONS,
    PRESENT_SEEN,
    PRESENT_SLOT,
    REPETITION_PENALTY,
    STOP,
)

ENTRIES = END_CODE + 1  # codes of one codebook, <eosp>


def build_ntp_head(
    checkpoint: Checkpoint,
    dialect: str,
    precision: Precision = "fp32",
    formats: WeightFormats | None = None,
) -> Graph:
    """Hidden states (1, positions, H) -> the next code, drawn at the last position."""
    width, seen_shape = checkpoint.config.hidden_size, (TOKENS_PER_FRAME, ENTRIES)
    graph = new_graph(NTP_HEAD, dialect, precision, formats)
    op = graph.op
    hidden = graph.input(HIDDEN, "float32", (1, POSITIONS, width))
    slot = graph.state(PAST_SLOT, PRESENT_SLOT, "int64", (1,), in_place=False)
    seen = graph.state(PAST_SEEN, PRESENT_SEEN, "bool", seen_shape, in_place=False)
    penalty = graph.input(REPETITION_PENALTY, "float32", (1,))

    scores = op.Gather(_scores(graph, checkpoint, hidden), slot, axis=0)  # (1, entries)
    scores = penalize(graph, scores, op.Gather(seen, slot, axis=0), penalty)
    code = draw(graph, scores, declare_sampling(graph, 1))
    stop = any_equal(graph, code, END_CODE)
    row = op.Where(stop, END_ROW, code_rows(graph, code, slot))
    embedding = op.Gather(graph.weight(code_embeddings(checkpoint)), row, axis=0)  # (1, H)
    slots = graph.constant(np.arange(TOKENS_PER_FRAME)[:, None], "slots")
    drawn = op.And(op.Equal(slots, slot), one_hot(graph, code, ENTRIES))

    graph.output(CODES, code, "int64", (1,))
    graph.output(KEPT_CODES, op.Where(stop, 0, 1), "int64", (1,))
    graph.output(STOP, stop, "bool", (1,))
    graph.output(NEXT_EMBEDDING, op.Unsqueeze(embedding, [0]), "float32", (1, 1, width))
    graph.output(PRESENT_SEEN, op.Or(seen, drawn), "bool", seen_shape)
    graph.output(PRESENT_SLOT, op.Mod(op.Add(slot, 1), TOKENS_PER_FRAME), "int64", (1,))
    declare_calls(graph, checkpoint.config.max_position_embeddings)
    return graph


def _scores(graph: Graph, checkpoint: Checkpoint, hidden: Value) -> Value:
    """Scores (3, entries) of every codebook at the last position."""
    tokens = checkpoint.tokens
    ids = [token for codebook in tokens.codes for token in (*codebook, tokens.end)]
    weight = checkpoint.rows("speech_output", ids, of=checkpoint.output_embeddings)
    scores = graph.widen(graph.linear(graph.last_position(hidden), weight, exact=True))
    return graph.op.Reshape(scores, [TOKENS_PER_FRAME, ENTRIES])
