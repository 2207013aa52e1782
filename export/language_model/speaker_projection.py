"""The speaker projection as a graph: a speaker embedding becomes one input embedding.

In: a speaker-aware checkpoint. Out: a `ModelGraph`. The runtime puts its result in the place of the
prompt's `<|placeholder|>`. It runs once for each utterance, in float32 at every precision.
"""

from __future__ import annotations

from export.graph.dialects import new_graph
from export.graph.model_graph import ModelGraph
from export.graph.precisions import GraphNumbers
from export.graph.writer import Value
from export.readers.checkpoint import Checkpoint
from runtime.bundle.names import ROWS, SPEAKER, SPEAKER_PROJECTION, SPEAKER_TOKEN, WHOLE


def build_speaker_projection(checkpoint: Checkpoint, numbers: GraphNumbers) -> ModelGraph:
    """Linear, SiLU, linear: (rows, speaker_channels) -> (rows, 1, H)."""
    graph = new_graph(SPEAKER_PROJECTION, numbers)

    def linear(x: Value, name: str) -> Value:
        weight = checkpoint.weight(f"spk_emb_proj.{name}.weight")
        bias = checkpoint.weight(f"spk_emb_proj.{name}.bias")
        return graph.widen(graph.linear(x, weight, bias, exact=True))

    speaker = graph.input(SPEAKER, "float32", (ROWS, checkpoint.config.spk_emb_dim))
    token = linear(graph.silu(linear(graph.op.Unsqueeze(speaker, [1]), "0")), "2")
    graph.output(SPEAKER_TOKEN, token, "float32", (ROWS, 1, checkpoint.config.hidden_size))
    graph.profile(WHOLE)
    return graph
