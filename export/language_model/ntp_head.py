"""The head of a next-token-prediction model as a graph: one code a step, stream by stream.

In: a checkpoint. Out: a `ModelGraph` that draws the next code from the stream whose turn it is, or
`<eosp>`. Other tokens cannot be drawn, so the graph has no scores for them. Everything is float32
at every precision, so that the same hidden state gives the same codes. It knows no text. The
decoding loop, not the graph, drops incomplete frames.
"""

from __future__ import annotations

import numpy as np

from export.graph.dialects import new_graph
from export.graph.model_graph import ModelGraph
from export.graph.precisions import GraphNumbers
from export.graph.writer import Value
from export.language_model.code_embeddings import END, StreamCodes, code_embeddings
from export.language_model.decoder_layers import declare_calls
from export.language_model.sampling import any_equal, declare_sampling, draw, one_hot, penalize
from export.readers.checkpoint import Checkpoint
from formats.streams import Streams
from formats.weights import Array, Weight
from runtime.bundle.interfaces import NTP_SPECIAL
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
    ROWS,
    STOP,
)


def build_ntp_head(checkpoint: Checkpoint, numbers: GraphNumbers) -> ModelGraph:
    """Hidden states (rows, positions, H) -> the next code, drawn at the last position."""
    width, streams = checkpoint.config.hidden_size, checkpoint.config.streams
    entries = streams.largest + NTP_SPECIAL
    graph = new_graph(NTP_HEAD, numbers)
    op = graph.op
    hidden = graph.input(HIDDEN, "float32", (ROWS, POSITIONS, width))
    slot = graph.state(PAST_SLOT, PRESENT_SLOT, "int64", (ROWS,), in_place=False)
    shape = (ROWS, streams.count, entries)
    seen = graph.state(PAST_SEEN, PRESENT_SEEN, "bool", shape, in_place=False)
    penalty = graph.input(REPETITION_PENALTY, "float32", (ROWS,))

    turn = op.Unsqueeze(slot, [1, 2])
    scores = _of_turn(graph, _scores(graph, checkpoint, hidden), turn)
    scores = penalize(graph, scores, _of_turn(graph, seen, turn), penalty)
    code = draw(graph, scores, entries, declare_sampling(graph, 1))
    stream_codes = _codes_of_slot(graph, streams, op.Unsqueeze(slot, [1]))
    stop = any_equal(graph, code, stream_codes.special(END))
    picked = op.Where(stop, streams.total + END, stream_codes.rows(code))
    embedding = op.Gather(graph.weight(code_embeddings(checkpoint)), picked, axis=0)
    slots = graph.constant(np.arange(streams.count)[:, None], "slots")
    drawn = op.And(op.Equal(slots, turn), one_hot(graph, code, entries))

    graph.output(CODES, code, "int64", (ROWS, 1))
    graph.output(KEPT_CODES, op.Where(op.Squeeze(stop, [1]), 0, 1), "int64", (ROWS,))
    graph.output(STOP, op.Squeeze(stop, [1]), "bool", (ROWS,))
    graph.output(NEXT_EMBEDDING, embedding, "float32", (ROWS, 1, width))
    graph.output(PRESENT_SEEN, op.Or(seen, drawn), "bool", shape)
    graph.output(PRESENT_SLOT, op.Mod(op.Add(slot, 1), streams.count), "int64", (ROWS,))
    declare_calls(graph, checkpoint.config.max_position_embeddings)
    return graph


def speech_output(checkpoint: Checkpoint) -> Weight:
    """Output embeddings (K · entries, H) of every stream: its codes, then `<eosp>` once or more."""
    streams, tokens = checkpoint.config.streams, checkpoint.tokens
    entries = streams.largest + NTP_SPECIAL
    own = [(*codes, tokens.end) for codes in tokens.codes]
    ids = [token for ids in own for token in (*ids, *[tokens.end] * (entries - len(ids)))]
    return checkpoint.rows("speech_output", ids, of=checkpoint.output_embeddings)


def _of_turn(graph: ModelGraph, values: Value, turn: Value) -> Value:
    """values (rows, K, entries) of the stream whose turn (rows, 1, 1) it is: (rows, 1, entries)."""
    return graph.op.GatherND(values, turn, batch_dims=1)


def _codes_of_slot(graph: ModelGraph, streams: Streams, slot: Value) -> StreamCodes:
    """For one code a row, (rows, 1)."""

    def pick(values: tuple[int, ...], name: str) -> Value:
        return graph.op.Gather(graph.constant(np.array(values), name), slot, axis=0)

    sizes, offsets = pick(streams.sizes, "stream_sizes"), pick(streams.offsets, "stream_offsets")
    return StreamCodes(graph, streams, sizes, offsets)


def _scores(graph: ModelGraph, checkpoint: Checkpoint, hidden: Value) -> Value:
    """Scores (rows, K, entries) of every stream at the last position."""
    streams = checkpoint.config.streams
    entries = streams.largest + NTP_SPECIAL
    weight = speech_output(checkpoint)
    scores = graph.widen(graph.linear(graph.last_position(hidden), weight, exact=True))
    scores = graph.op.Reshape(scores, [-1, streams.count, entries])
    lacking = _lacking(streams, entries)
    if lacking.any():
        scores = graph.op.Where(graph.constant(lacking, "lacking"), -np.inf, scores)
    return scores


def _lacking(streams: Streams, entries: int) -> Array:
    """bool (K, entries): entries that a smaller stream does not have."""
    own = np.array(streams.sizes)[:, None] + NTP_SPECIAL
    return np.asarray(np.arange(entries) >= own)
