"""The text head as a graph: hidden state in, one token of text out, or one that ends it.

In: a checkpoint. Out: a `Graph`. Speaking does not need it: prompts end in `<sosp>`. It is for
models that are to answer in text. Its one product is in the graph's own format, for it is as
large as a third of a model, and its draw in float32. Tokens that are no text cannot be drawn.
"""

from __future__ import annotations

import numpy as np

from export.graph.dialects import new_graph
from export.graph.graph import Graph
from export.graph.precisions import Precision, WeightFormats
from export.language_model.decoder_layers import declare_calls
from export.language_model.half_range import normed_reach, require_reach
from export.language_model.sampling import declare_sampling, draw
from export.readers.checkpoint import Checkpoint
from runtime.bundle.names import HIDDEN, POSITIONS, TEXT_HEAD, TOKEN


def build_text_head(
    checkpoint: Checkpoint,
    dialect: str,
    precision: Precision = "fp32",
    formats: WeightFormats | None = None,
) -> Graph:
    """Hidden states (1, positions, H) -> the next token, drawn at the last position."""
    graph = new_graph(TEXT_HEAD, dialect, precision, formats)
    hidden = graph.input(HIDDEN, "float32", (1, POSITIONS, checkpoint.config.hidden_size))
    weight = checkpoint.weight(checkpoint.output_embeddings)
    if graph.compute == "float16":
        require_reach(weight, normed_reach(weight, checkpoint.weight("model.norm.weight")))
    scores = graph.widen(graph.linear(graph.last_position(hidden), weight))  # (1, 1, vocabulary)
    is_speech = np.zeros((1, 1, weight.shape[0]), bool)
    is_speech[..., list(checkpoint.tokens.never_written)] = True
    scores = graph.op.Where(graph.constant(is_speech, "is_speech"), -np.inf, scores)
    token = draw(graph, graph.op.Squeeze(scores, [0]), declare_sampling(graph, 1))
    graph.output(TOKEN, token, "int64", (1,))
    declare_calls(graph, checkpoint.config.max_position_embeddings)
    return graph
