"""Calls of a speech head, for checks: which graph it is, and all inputs that are not states.

In: graphs' entries in a manifest, and hidden states. Out: inputs by name. By default a draw is
greedy. It runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from export.graph.runner import Arrays
from formats.weights import Array
from runtime.bundle.manifest import GraphSpec
from runtime.bundle.names import (
    HIDDEN,
    MTP_HEAD,
    NOISE,
    NTP_HEAD,
    PAST_LENGTH,
    REPETITION_PENALTY,
    TEMPERATURE,
    TOP_K,
    TOP_P,
)

ANY_NOISE = 0.5  # a greedy draw does not depend on it
TRUNCATED = 0.8  # top_p of draws that are not greedy


def head_name(graphs: Mapping[str, GraphSpec]) -> str:
    """The graph that turns hidden states into codes."""
    return MTP_HEAD if MTP_HEAD in graphs else NTP_HEAD


def codes_of_step(head: GraphSpec) -> int:
    """How many codes the head draws in a step."""
    return next(int(tensor.shape[1]) for tensor in head.inputs if tensor.name == NOISE)


def greedy_inputs(head: GraphSpec, hidden: Array, past_length: int, penalty: float = 1.0) -> Arrays:
    """Inputs for a greedy draw of one row."""
    settings: Arrays = {
        NOISE: np.full((1, codes_of_step(head)), ANY_NOISE, np.float32),
        TOP_K: np.ones(1, np.int64),
        TOP_P: np.ones(1, np.float32),
        REPETITION_PENALTY: np.array([penalty], np.float32),
    }
    return _take_inputs(head, hidden, past_length, settings)


def sampled_inputs(head: GraphSpec, hidden: Array, noise: Array, top_k: int) -> Arrays:
    """Inputs for a draw of one row at the first position, with noise float32 (1, codes)."""
    settings: Arrays = {TOP_K: np.array([top_k]), TOP_P: np.array([TRUNCATED], np.float32)}
    return _take_inputs(head, hidden, 0, {NOISE: noise} | settings)


def _take_inputs(head: GraphSpec, hidden: Array, past_length: int, settings: Arrays) -> Arrays:
    """Those that this kind of head has."""
    plain = {TEMPERATURE: np.ones(1, np.float32), REPETITION_PENALTY: np.ones(1, np.float32)}
    inputs = {HIDDEN: hidden, PAST_LENGTH: np.array([past_length])} | plain | settings
    wanted = {tensor.name for tensor in head.inputs}
    return {name: array for name, array in inputs.items() if name in wanted}
