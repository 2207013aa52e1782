"""The text head as a graph: hidden state in, one token of the whole vocabulary out.

In: a checkpoint. Out: a `Graph`. Speaking does not need it: prompts end in `<sosp>`. It is for
models that are to answer in text. It knows no tokens.
"""

from __future__ import annotations

from export.checkpoint import Checkpoint
from export.dialects import new_graph
from export.graph import Graph, Precision
from export.sampling import declare_sampling, draw
from runtime.bundle import HIDDEN, POSITIONS, TEXT_HEAD, TOKEN


def build_text_head(checkpoint: Checkpoint, dialect: str, precision: Precision = "fp32") -> Graph:
    """Hidden states (1, positions, H) -> the next token, drawn at the last position."""
    graph = new_graph(TEXT_HEAD, dialect, precision)
    hidden = graph.input(HIDDEN, "float32", (1, POSITIONS, checkpoint.config.hidden_size))
    weight = checkpoint.weight(checkpoint.output_embeddings)
    scores = graph.linear(graph.last_position(hidden), weight)  # (1, 1, vocabulary)
    token = draw(graph, graph.op.Squeeze(scores, [0]), declare_sampling(graph, 1))
    graph.output(TOKEN, token, "int64", (1,))
    return graph
