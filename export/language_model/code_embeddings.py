"""The input embeddings of speech codes: a head looks up the codes that it has drawn.

In: a checkpoint. Out: a table with one row for each code of all streams, then `<eosp>` and
`<|speech_pad|>`, and the row of a drawn code. It does not know how many codes a step has.

A head's vocabulary holds the codes of its stream, then `<eosp>`, then `<|speech_pad|>`. The numbers
of these two therefore depend on the size of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.graph.model_graph import ModelGraph
from export.graph.writer import Value
from export.readers.checkpoint import EMBEDDINGS, Checkpoint
from formats.streams import Streams
from formats.weights import Weight

END, PAD = 0, 1  # special codes, counted from a stream's size or from the table's last code on


def code_embeddings(checkpoint: Checkpoint) -> Weight:
    """(codes of all streams + 2, H); without the last row if there is no `<|speech_pad|>`."""
    tokens = checkpoint.tokens
    pad = [] if tokens.pad is None else [tokens.pad]
    ids = [token for stream in tokens.codes for token in stream] + [tokens.end, *pad]
    return checkpoint.rows("code_embeddings", ids, of=EMBEDDINGS)


@dataclass(frozen=True)
class StreamCodes:
    """The stream of each drawn code, as values of a graph.

    sizes, offsets: int64, of any shape that broadcasts against codes. They say how many codes the
    stream of each code has, and where its rows of the table begin.
    """

    graph: ModelGraph
    streams: Streams
    sizes: Value
    offsets: Value

    def special(self, code: int) -> Value:
        """`END` or `PAD` in each head's vocabulary, in the shape of `sizes`."""
        return self.graph.op.Add(self.sizes, code) if code else self.sizes

    def rows(self, codes: Value) -> Value:
        """Which rows of the table belong to `codes`."""
        op = self.graph.op
        of_special = op.Sub(self.streams.total, self.sizes)
        first = op.Where(op.Less(codes, self.sizes), self.offsets, of_special)
        return op.Add(codes, first)


def codes_of_heads(graph: ModelGraph, streams: Streams, heads: int) -> StreamCodes:
    """For one code of each head, (heads): head i speaks stream i mod K."""
    of_head = np.arange(heads) % streams.count
    return StreamCodes(
        graph,
        streams,
        graph.constant(np.array(streams.sizes)[of_head], "stream_sizes"),
        graph.constant(np.array(streams.offsets)[of_head], "stream_offsets"),
    )
