"""How far a quantized model is from the float32 one, on the same inputs.

In: scores of the same steps from both. Out: the mean KL divergence of the distributions that
codes are drawn from, and how often the best code is the same. It runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from formats.weights import Array


@dataclass(frozen=True)
class Fidelity:
    """kl_divergence: nats a code, from the reference. agreement: share of equal best codes."""

    kl_divergence: float
    agreement: float


def compare_scores(reference: Sequence[Array], scores: Sequence[Array]) -> Fidelity:
    """Both: float32 (steps, codes of a step, entries) of each utterance."""
    expected, actual = np.concatenate(reference), np.concatenate(scores)
    divergence = _divergence(_log_softmax(expected), _log_softmax(actual))
    agrees = expected.argmax(axis=-1) == actual.argmax(axis=-1)
    return Fidelity(float(divergence.mean()), float(agrees.mean()))


def _divergence(log_p: Array, log_q: Array) -> Array:
    """Sum of p · (log p - log q) over the last axis. Entries that cannot be drawn count nothing."""
    possible = np.isfinite(log_p)
    difference = np.where(possible, log_p, 0.0) - np.where(possible, log_q, 0.0)
    return np.asarray((np.exp(log_p) * difference).sum(axis=-1))


def _log_softmax(scores: Array) -> Array:
    shifted = scores.astype(np.float64) - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
