"""The one table of numerical tolerances: largest difference, relative to the largest value.

A row is (graph, precision, engine). Every limit says what was measured and why it is not zero.
Codes and frames are not here: they must be identical.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    limit: float
    measured: float
    reason: str


TOLERANCES = {
    ("backbone", "fp32", "ort"): Tolerance(1e-5, 2e-6, "sums in another order, fused attention"),
    ("backbone", "fp32", "portable"): Tolerance(1e-5, 2.4e-6, "sums in another order"),
    ("speaker_projection", "fp32", "ort"): Tolerance(1e-5, 7e-7, "sums in another order"),
    ("speaker_projection", "fp32", "portable"): Tolerance(1e-5, 7e-7, "sums in another order"),
    ("mtp_head", "fp32", "ort"): Tolerance(1e-6, 0.0, "mean of the same embeddings"),
    ("mtp_head", "fp32", "portable"): Tolerance(1e-6, 0.0, "mean of the same embeddings"),
    ("codec_decoder", "fp32", "ort"): Tolerance(1e-5, 4.8e-6, "sums in another order, sines"),
    ("codec_decoder", "fp32", "portable"): Tolerance(1e-5, 4.8e-6, "sums in another order, sines"),
    ("codec_encoder", "fp32", "ort"): Tolerance(1e-5, 1.4e-6, "sums in another order"),
    ("codec_encoder", "fp32", "portable"): Tolerance(1e-5, 1.4e-6, "sums in another order"),
    ("alias_free_snake", "fp32", "native"): Tolerance(1e-5, 3e-7, "sums in another order, sines"),
}


def limit(graph: str, precision: str, engine: str) -> float:
    """The limit of one row; `KeyError` for a combination nobody has measured."""
    return TOLERANCES[graph, precision, engine].limit
