"""Drawing codes inside the graph.

In: scores (N, entries) and the sampling inputs that `runtime.bundle` names. Out: codes (N) and
the record of codes seen. The order is the published one:
repetition penalty, temperature, top-k, top-p, draw (arXiv 2506.12537, repository
cnxupupup/SLM-Decoupled-MTP). Randomness comes in as an input, so that every engine draws the
same codes. It does not know where the scores come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.graph.graph import Graph
from export.graph.writer import Value
from runtime.bundle.names import NOISE, TEMPERATURE, TOP_K, TOP_P

SCORES = "scores"  # name of the value that calibration compares between precisions


@dataclass(frozen=True)
class SamplingInputs:
    """The knobs of a draw, each (1), and the noise (N)."""

    temperature: Value
    top_k: Value
    top_p: Value
    noise: Value


def declare_sampling(graph: Graph, codes: int) -> SamplingInputs:
    """Declare the sampling inputs for `codes` draws a step."""
    return SamplingInputs(
        temperature=graph.input(TEMPERATURE, "float32", (1,)),
        top_k=graph.input(TOP_K, "int64", (1,)),
        top_p=graph.input(TOP_P, "float32", (1,)),
        noise=graph.input(NOISE, "float32", (codes,)),
    )


def penalize(graph: Graph, scores: Value, seen: Value, penalty: Value) -> Value:
    """Where seen: score · penalty if the score is negative, score / penalty otherwise."""
    op = graph.op
    scores.name = SCORES
    lowered = op.Where(op.Less(scores, 0.0), op.Mul(scores, penalty), op.Div(scores, penalty))
    return op.Where(seen, lowered, scores)


def draw(graph: Graph, scores: Value, inputs: SamplingInputs) -> Value:
    """Codes (N) drawn from scores (N, entries) by inverting the cumulative distribution.

    Scores are float32 at every precision. A top_k of 1 is greedy, whatever the noise.
    """
    op = graph.op
    scaled = op.Div(scores, inputs.temperature)
    best, indices = graph.best(scaled, inputs.top_k)  # (N, k)
    kept = _nucleus(graph, op.Softmax(best, axis=-1), inputs.top_p)
    cumulative = op.CumSum(kept, 1)
    target = op.Mul(op.Unsqueeze(inputs.noise, [1]), op.ReduceSum(kept, [1]))  # (N, 1)
    passed = _count(graph, op.LessOrEqual(cumulative, target))
    last = op.Sub(_count(graph, op.Greater(kept, 0.0)), 1)  # rounding may carry the target past it
    return op.Squeeze(op.GatherElements(indices, op.Min(passed, last), axis=1), [1])


def one_hot(graph: Graph, codes: Value, entries: int) -> Value:
    """bool (N, entries), true at each row's code."""
    columns = graph.constant(np.arange(entries), "entries")
    return graph.op.Equal(graph.op.Unsqueeze(codes, [1]), columns)


def any_equal(graph: Graph, codes: Value, code: int) -> Value:
    """Whether any of `codes` (N) is `code`: bool (1)."""
    op = graph.op
    matches = op.Cast(op.Equal(codes, code), to=ir.DataType.INT64)
    return op.Greater(op.ReduceMax(matches, [0], keepdims=1), 0)


def _nucleus(graph: Graph, probabilities: Value, top_p: Value) -> Value:
    """Zero where the mass of likelier entries exceeds top_p; 1 and more keep everything."""
    op = graph.op
    mass_before = op.CumSum(probabilities, 1, exclusive=1)
    inside = op.Or(op.LessOrEqual(mass_before, top_p), op.GreaterOrEqual(top_p, 1.0))
    return op.Where(inside, probabilities, 0.0)


def _count(graph: Graph, flags: Value) -> Value:
    """How many of flags (N, k) are set in each row: int64 (N, 1)."""
    return graph.op.ReduceSum(graph.op.Cast(flags, to=ir.DataType.INT64), [1])
