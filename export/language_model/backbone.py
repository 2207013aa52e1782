"""The Qwen2 backbone as a graph: from embeddings and a KV cache to hidden states (final norm).

In: a checkpoint. Out: a `ModelGraph`. It knows no tokens and no heads.
"""

from __future__ import annotations

from export.graph.dialects import new_graph
from export.graph.model_graph import ModelGraph
from export.graph.precisions import GraphNumbers
from export.language_model.decoder_layers import (
    LayerCaches,
    attention_geometry,
    declare_calls,
    run_layers,
)
from export.language_model.decoder_weights import decoder_weights
from export.readers.checkpoint import Checkpoint
from runtime.bundle.names import (
    BACKBONE,
    HIDDEN,
    INPUTS_EMBEDS,
    MAX_POSITIONS_FACT,
    PAST_KEY,
    PAST_LENGTH,
    PAST_VALUE,
    POSITIONS,
    PRESENT_KEY,
    PRESENT_VALUE,
    ROWS,
)


def build_backbone(checkpoint: Checkpoint, numbers: GraphNumbers) -> ModelGraph:
    """Embeddings (rows, positions, H), after `past_length` cached positions -> hidden states."""
    config = checkpoint.config
    graph = new_graph(BACKBONE, numbers)
    x = graph.input(INPUTS_EMBEDS, "float32", (ROWS, POSITIONS, config.hidden_size))
    past_length = graph.input(PAST_LENGTH, "int64", (ROWS,))
    layers = [
        decoder_weights(checkpoint.weight, f"model.layers.{layer}")
        for layer in range(config.num_hidden_layers)
    ]
    caches = LayerCaches(
        graph,
        attention_geometry(config),
        key_names=(PAST_KEY, PRESENT_KEY),
        value_names=(PAST_VALUE, PRESENT_VALUE),
        layers=len(layers),
    )
    x, update = run_layers(graph, layers, x, past_length, caches, config.rms_norm_eps)
    norm = checkpoint.weight("model.norm.weight")
    hidden, _ = graph.add_rms_norm(update, x, norm, config.rms_norm_eps)
    graph.output(HIDDEN, hidden, "float32", (ROWS, POSITIONS, config.hidden_size))
    declare_calls(graph, config.max_position_embeddings)
    graph.fact(MAX_POSITIONS_FACT, config.max_position_embeddings)
    return graph
