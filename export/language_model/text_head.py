"""The text head as a graph: a hidden state becomes a token of text, or one that ends the text.

In: a checkpoint. Out: a `ModelGraph`. Models that answer questions need it; speaking does not,
because prompts end in `<sosp>`. Its product is in the graph's precision, because its weight can be
a third of the model. Tokens are drawn in float32, and only those that are text.
"""

from __future__ import annotations

import numpy as np

from export.graph.dialects import new_graph
from export.graph.model_graph import ModelGraph
from export.graph.precisions import GraphNumbers
from export.language_model.decoder_layers import declare_calls
from export.language_model.half_range import normed_reach, require_reach
from export.language_model.sampling import declare_sampling, draw
from export.readers.checkpoint import Checkpoint
from runtime.bundle.names import HIDDEN, POSITIONS, ROWS, TEXT_HEAD, TOKEN


def build_text_head(checkpoint: Checkpoint, numbers: GraphNumbers) -> ModelGraph:
    """Hidden states (rows, positions, H) -> the next token, drawn at the last position."""
    graph = new_graph(TEXT_HEAD, numbers)
    hidden = graph.input(HIDDEN, "float32", (ROWS, POSITIONS, checkpoint.config.hidden_size))
    weight = checkpoint.weight(checkpoint.output_embeddings)
    if graph.compute == "float16":
        require_reach(weight, normed_reach(weight, checkpoint.weight("model.norm.weight")))
    scores = graph.widen(graph.linear(graph.last_position(hidden), weight))  # (rows, 1, vocabulary)
    is_speech = np.zeros(weight.shape[0], bool)
    is_speech[list(checkpoint.tokens.never_written)] = True
    scores = graph.op.Where(graph.constant(is_speech, "is_speech"), -np.inf, scores)
    token = draw(graph, scores, weight.shape[0], declare_sampling(graph, 1))
    graph.output(TOKEN, graph.op.Squeeze(token, [1]), "int64", (ROWS,))
    declare_calls(graph, checkpoint.config.max_position_embeddings)
    return graph
