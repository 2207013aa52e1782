"""Sampling: how codes are drawn, from the user's settings and the bundle's defaults.

In: optional settings. Out: a complete, validated `SamplingDefaults` record and a random
generator. The drawing itself happens inside the head graphs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from commands.errors import UserError
from runtime.bundle.manifest import SamplingDefaults

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
MAX_REPETITION_PENALTY = 100.0
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Sampling:
    """Settings for drawing codes; `None` means the bundle's default.

    do_sample: False is greedy: always picks the most likely code of every head. Then only the
        repetition penalty has an effect; other settings are refused.
    temperature: divides the scores. top_k: how many codes can be drawn at most.
    top_p: the most probable codes that together reach this probability can be drawn.
    repetition_penalty: r >= 1; the score s of a code that its head drew before in this utterance
        becomes s / r, or s * r where it is negative (CTRL, arXiv 1909.05858).
    seed: the same seed gives the same audio on the same machine. None: each call differs.

    Raises:
        UserError: a value out of range, or settings that contradict each other.
    """

    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_range("temperature", self.temperature, MIN_TEMPERATURE, MAX_TEMPERATURE)
        _check_range("top_k", self.top_k, 1, math.inf)
        _check_range("top_p", self.top_p, np.nextafter(0.0, 1.0), 1.0)
        _check_range("repetition_penalty", self.repetition_penalty, 1.0, MAX_REPETITION_PENALTY)
        _check_range("seed", self.seed, 0, MAX_SEED)
        if self.do_sample is False:
            self._refuse_draw_settings("greedy decoding always picks the most likely code")

    def resolve(self, defaults: SamplingDefaults) -> SamplingDefaults:
        """Complete settings; greedy decoding becomes top_k = 1 at temperature 1.

        Raises:
            UserError: a setting for drawing where the bundle's default is greedy decoding.
        """
        do_sample = defaults.do_sample if self.do_sample is None else self.do_sample
        penalty = _either(self.repetition_penalty, defaults.repetition_penalty)
        if not do_sample:
            self._refuse_draw_settings("this bundle decodes greedily unless do_sample is set")
            return SamplingDefaults(
                do_sample=False, temperature=1.0, top_k=1, top_p=1.0, repetition_penalty=penalty
            )
        return SamplingDefaults(
            do_sample=True,
            temperature=_either(self.temperature, defaults.temperature),
            top_k=int(_either(self.top_k, defaults.top_k)),
            top_p=_either(self.top_p, defaults.top_p),
            repetition_penalty=penalty,
        )

    def random_generator(self, utterance: int) -> np.random.Generator:
        """Noise for one sentence of a text. It does not depend on the sentences before it."""
        return np.random.default_rng(None if self.seed is None else [self.seed, utterance])

    def _refuse_draw_settings(self, why: str) -> None:
        for name in ("temperature", "top_k", "top_p", "seed"):
            if getattr(self, name) is not None:
                raise UserError(f"{name} has no effect: {why}; leave it out")


def seeded(defaults: SamplingDefaults, seed: int) -> Sampling:
    """A bundle's default sampling with a seed, which greedy decoding does not take."""
    return Sampling(seed=seed if defaults.do_sample else None)


def _either(value: float | None, default: float) -> float:
    return default if value is None else value


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:  # also refuses NaN
        raise UserError(f"{name} is {value:g}; it must lie between {low:g} and {high:g}")
