"""Tables of rotary position embeddings (arXiv 2104.09864).

In: sizes of attention. Out: cosines and sines by position, as arrays or as weights of a graph.
"""

from __future__ import annotations

import numpy as np

from export.graph.model_graph import AttentionGeometry, ModelGraph
from export.graph.writer import Value
from formats.weights import Array, as_weight
from runtime.bundle.manifest import DType


def rotary_tables(geometry: AttentionGeometry) -> tuple[Array, Array]:
    """Cosines and sines of position · theta^(-2i/D), each float32 (max_positions, D / 2)."""
    positions = np.arange(geometry.max_positions, dtype=np.float32)
    angles = np.outer(positions, rotary_frequencies(geometry.head_dim, geometry.rope_theta))
    return np.cos(angles), np.sin(angles)


def rotary_frequencies(head_dim: int, theta: float) -> Array:
    """theta^(-2i/D), float32 (D / 2)."""
    channels = np.arange(0, head_dim, 2, dtype=np.float32) / head_dim
    return np.asarray(1.0 / np.float32(theta) ** channels)


def rotary_weights(
    graph: ModelGraph, geometry: AttentionGeometry, dtype: DType
) -> tuple[Value, Value]:
    """The two tables as initializers of a float type."""
    cos, sin = rotary_tables(geometry)
    return (
        graph.weight(as_weight("rotary.cos", cos), dtype),
        graph.weight(as_weight("rotary.sin", sin), dtype),
    )
