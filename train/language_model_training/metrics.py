"""Evaluation figures of a language model: cross-entropy, perplexity and top-1 per head.

In: the loss reports of evaluation batches. Out: named numbers. Each is a mean over all positions of
the set, so it does not depend on the batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from formats.checkpoint.language_model_config import LanguageModelConfig
from train.language_model.mtp import LossReport

_LARGEST_EXPONENT = 700.0


def head_names(config: LanguageModelConfig) -> list[str]:
    """`a1`, `b1`, `c1`, `a2`, … as in the paper. An NTP model has one head, `token`."""
    if config.kind == "ntp":
        return ["token"]
    streams, frames = config.streams.names, range(1, config.frames_per_step + 1)
    return [f"{stream}{frame}" for frame in frames for stream in streams]


class EvaluationSums:
    """Adds up losses and right answers, weighted by positions. `names`: of the heads."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._losses = torch.zeros(len(names), dtype=torch.float64)
        self._correct = torch.zeros(len(names), dtype=torch.float64)
        self._positions = 0
        self._text_loss = 0.0
        self._text_positions = 0

    def add(self, report: LossReport) -> None:
        """Add a batch."""
        self._losses += report.heads.double().cpu() * report.positions
        self._correct += report.correct.double().cpu()
        self._positions += report.positions
        self._text_loss += float(report.text) * report.text_positions
        self._text_positions += report.text_positions

    def metrics(self, prefix: str) -> dict[str, float]:
        """`{prefix}_loss` (mean over heads, nats), and per head loss, perplexity and top-1."""
        figures: dict[str, float] = {}
        if self._positions:
            losses = (self._losses / self._positions).tolist()
            figures[f"{prefix}_loss"] = sum(losses) / len(losses)
            for index, loss in enumerate(losses):
                name = f"{prefix}_{self._names[index]}"
                figures[f"{name}_perplexity"] = math.exp(min(loss, _LARGEST_EXPONENT))
                figures[f"{name}_top1"] = float(self._correct[index]) / self._positions
            figures[f"{prefix}_top1"] = float(self._correct.mean()) / self._positions
        if self._text_positions:
            text = self._text_loss / self._text_positions
            figures[f"{prefix}_text_perplexity"] = math.exp(min(text, _LARGEST_EXPONENT))
        return figures
