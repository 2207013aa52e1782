"""Drawing codes inside the graph.

In: scores (rows, N, entries) and the sampling inputs that `runtime.bundle` names. Out: codes
(rows, N) and the record of codes seen. The order is the published one: repetition penalty,
temperature, top-k, top-p, draw (arXiv 2506.12537, repository cnxupupup/SLM-Decoupled-MTP).
Randomness is an input, so that every engine draws the same codes. Rows do not affect each other.
It does not know where the scores come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.graph.model_graph import ModelGraph
from export.graph.writer import Value
from runtime.bundle.names import NOISE, ROWS, TEMPERATURE, TOP_K, TOP_P

SCORES = "scores"  # name of the value that calibration compares between precisions


@dataclass(frozen=True)
class SamplingInputs:
    """The settings of a draw, each (rows), and the noise (rows, N)."""

    temperature: Value
    top_k: Value
    top_p: Value
    noise: Value


def declare_sampling(graph: ModelGraph, codes: int) -> SamplingInputs:
    """Declare the sampling inputs for `codes` draws a step."""
    return SamplingInputs(
        temperature=graph.input(TEMPERATURE, "float32", (ROWS,)),
        top_k=graph.input(TOP_K, "int64", (ROWS,)),
        top_p=graph.input(TOP_P, "float32", (ROWS,)),
        noise=graph.input(NOISE, "float32", (ROWS, codes)),
    )


def penalize(graph: ModelGraph, scores: Value, seen: Value, penalty: Value) -> Value:
    """Where seen: score · penalty if the score is negative, score / penalty otherwise.

    scores, seen: (rows, N, entries). penalty: (rows).
    """
    op = graph.op
    scores.name = SCORES
    penalty = _of_row(graph, penalty)
    lowered = op.Where(op.Less(scores, 0.0), op.Mul(scores, penalty), op.Div(scores, penalty))
    return op.Where(seen, lowered, scores)


def draw(graph: ModelGraph, scores: Value, entries: int, inputs: SamplingInputs) -> Value:
    """Codes (rows, N) drawn from scores (rows, N, entries) by inverting the cumulative
    distribution.

    Scores are float32 at every precision. A top_k of 1 is greedy: the noise has no effect.
    """
    op = graph.op
    best, indices = graph.best(scores, inputs.top_k, entries)  # (rows, N, k)
    scaled = op.Div(best, _of_row(graph, inputs.temperature))  # changes no order
    kept = _nucleus(graph, op.Softmax(scaled, axis=-1), _of_row(graph, inputs.top_p))
    cumulative = graph.cumulative(kept)
    target = op.Mul(op.Unsqueeze(inputs.noise, [2]), op.ReduceSum(kept, [2]))  # (rows, N, 1)
    passed = _count(graph, op.LessOrEqual(cumulative, target))
    last = op.Sub(_count(graph, op.Greater(kept, 0.0)), 1)  # rounding may carry the target past it
    return op.Squeeze(op.GatherElements(indices, op.Min(passed, last), axis=2), [2])


def one_hot(graph: ModelGraph, codes: Value, entries: int) -> Value:
    """codes (rows, N) -> bool (rows, N, entries), true at each code."""
    columns = graph.constant(np.arange(entries), "entries")
    return graph.op.Equal(graph.op.Unsqueeze(codes, [2]), columns)


def any_equal(graph: ModelGraph, codes: Value, wanted: Value) -> Value:
    """Whether a row has a code (rows, N) that equals its `wanted` (N): bool (rows, 1)."""
    op = graph.op
    matches = op.Cast(op.Equal(codes, wanted), to=ir.DataType.INT64)
    return op.Greater(op.ReduceMax(matches, [1], keepdims=1), 0)


def _of_row(graph: ModelGraph, setting: Value) -> Value:
    """A setting (rows) as (rows, 1, 1), which broadcasts against scores."""
    return graph.op.Unsqueeze(setting, [1, 2])


def _nucleus(graph: ModelGraph, probabilities: Value, top_p: Value) -> Value:
    """Probabilities, zero for entries whose likelier entries already exceed top_p together.

    A top_p of 1 keeps everything.
    """
    op = graph.op
    mass_before = graph.cumulative(probabilities, exclusive=True)
    inside = op.Or(op.LessOrEqual(mass_before, top_p), op.GreaterOrEqual(top_p, 1.0))
    return op.Where(inside, probabilities, 0.0)


def _count(graph: ModelGraph, flags: Value) -> Value:
    """How many of flags (rows, N, k) are set: int64 (rows, N, 1)."""
    return graph.op.ReduceSum(graph.op.Cast(flags, to=ir.DataType.INT64), [2])
