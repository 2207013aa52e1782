"""Settings: defaults of the bundle, what the user sets, and what contradicts itself."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from commands.errors import UserError
from runtime import Sampling
from runtime.bundle.manifest import SamplingDefaults
from runtime.speech.sampling import seeded

DEFAULTS = SamplingDefaults(True, 0.9, 40, 0.7, 1.1)


def test_unset_fields_come_from_the_bundle() -> None:
    assert Sampling().resolve(DEFAULTS) == DEFAULTS
    wanted = Sampling(temperature=0.5, top_k=7, seed=3)
    assert wanted.resolve(DEFAULTS) == SamplingDefaults(True, 0.5, 7, 0.7, 1.1)


def test_greedy_is_top_1_and_keeps_the_penalty() -> None:
    assert Sampling(do_sample=False).resolve(DEFAULTS) == SamplingDefaults(False, 1.0, 1, 1.0, 1.1)
    unpunished = Sampling(do_sample=False, repetition_penalty=1.0)
    assert unpunished.resolve(DEFAULTS).repetition_penalty == 1.0


@pytest.mark.parametrize("setting", ["temperature", "top_k", "top_p", "seed"])
def test_greedy_refuses_settings_for_drawing(setting: str) -> None:
    given: dict[str, Any] = {setting: 1}
    with pytest.raises(UserError, match=f"{setting} has no effect: greedy"):
        Sampling(do_sample=False, **given)
    greedy_bundle = SamplingDefaults(do_sample=False)
    with pytest.raises(UserError, match=f"{setting} has no effect: this bundle"):
        Sampling(**given).resolve(greedy_bundle)
    assert Sampling(do_sample=True, **given).resolve(greedy_bundle).do_sample


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("repetition_penalty", 0.99),
        ("repetition_penalty", math.nan),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_values_out_of_range_are_refused(setting: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"{setting} is .* must lie between"):
        Sampling(**{setting: value})


def test_seeded_defaults_are_repeatable_also_where_nothing_is_drawn() -> None:
    assert seeded(DEFAULTS, 3) == Sampling(seed=3)
    greedy = SamplingDefaults(do_sample=False)
    assert seeded(greedy, 3).resolve(greedy) == Sampling().resolve(greedy)


def test_settings_cannot_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Sampling().seed = 1  # type: ignore[misc]  # mypy refuses it, too


def test_noise_depends_on_seed_and_utterance_only() -> None:
    def noise(seed: int | None, utterance: int) -> np.ndarray:
        return Sampling(seed=seed).random_generator(utterance).random(8)

    np.testing.assert_array_equal(noise(5, 0), noise(5, 0))
    assert not np.array_equal(noise(5, 0), noise(5, 1))
    assert not np.array_equal(noise(5, 0), noise(6, 0))
    assert not np.array_equal(noise(None, 0), noise(None, 0))
