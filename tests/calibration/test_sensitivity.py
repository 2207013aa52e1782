"""Budgets, exclusion and the sensitivity report, with a judge whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from calibration.goals import Budget
from calibration.measurement.fidelity import Fidelity, compare_scores
from calibration.sensitivity import choose_excluded, measure_sensitivity
from calibration.sensitivity_report import write_sensitivity
from commands.errors import UserError
from formats.calibration.quantized_weight import QuantizedWeight
from formats.number_formats import INT8

COSTS = {"a": 0.001, "b": 0.05, "c": 0.002, "d": 0.4}
WEIGHTS = {name: QuantizedWeight(INT8, 4, np.ones((3, 1), np.float32)) for name in COSTS}


class AddingJudge:
    """Costs add up; counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, weights: Mapping[str, QuantizedWeight]) -> Fidelity:
        self.calls += 1
        cost = sum(COSTS[name] for name in weights)
        return Fidelity(cost, 1.0 - cost)


def ranked(judge: AddingJudge) -> list[str]:
    return measure_sensitivity(judge, WEIGHTS, lambda: None).ranked()


def test_each_weight_is_measured_alone_and_the_worst_comes_first() -> None:
    judge = AddingJudge()
    assert ranked(judge) == ["d", "b", "c", "a"]
    assert judge.calls == len(WEIGHTS)


@pytest.mark.parametrize(
    ("budget", "excluded"),
    [
        ("kl=1", []),
        ("kl=0.06", ["d"]),
        ("kl=0.01", ["d", "b"]),
        ("kl=0.0015", ["d", "b", "c"]),
        ("agreement=0.9", ["d"]),
    ],
)
def test_the_fewest_weights_are_left_out(budget: str, excluded: list[str]) -> None:
    judge = AddingJudge()
    sensitivity = measure_sensitivity(judge, WEIGHTS, lambda: None)
    chosen = choose_excluded(judge, WEIGHTS, sensitivity.ranked(), Budget.parse(budget).allows)
    assert chosen is not None
    found, fidelity = chosen
    assert found == excluded
    kept = sum(COSTS[name] for name in COSTS if name not in excluded)
    assert fidelity.kl_divergence == pytest.approx(kept)
    assert Budget.parse(budget).allows(fidelity)


def test_a_budget_that_nothing_meets_leaves_nothing() -> None:
    judge = AddingJudge()
    budget = Budget.parse("kl=1e-9")
    assert choose_excluded(judge, WEIGHTS, ranked(judge), budget.allows) is None


@pytest.mark.parametrize("text", ["kl", "kl=", "kl=-1", "kl=nan", "agreement=1.5", "loss=1", "=1"])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"write kl=0\.02"):
        Budget.parse(text)


def test_the_report_names_what_is_left_out(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    sensitivity = measure_sensitivity(AddingJudge(), WEIGHTS, lambda: None)
    write_sensitivity(tmp_path, sensitivity, ["d"])
    rows = json.loads((tmp_path / "sensitivity.json").read_text())
    assert [(row["weight"], row["excluded"]) for row in rows][:2] == [("d", True), ("b", False)]
    assert "| d | 4.00e-01 | 60.0% | left out |" in (tmp_path / "sensitivity.md").read_text()
    assert (tmp_path / "sensitivity.png").read_bytes().startswith(b"\x89PNG")


def test_fidelity_is_divergence_and_agreement() -> None:
    random = np.random.default_rng(0)
    reference = random.standard_normal((5, 3, 7)).astype(np.float32)
    reference[:, 1, -1] = -np.inf  # an entry that this head does not have
    other = reference + random.standard_normal(reference.shape).astype(np.float32)
    same = compare_scores([reference], [reference + 3.0])
    assert same.kl_divergence == pytest.approx(0.0, abs=1e-9)
    assert same.agreement == 1.0
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (reference, other))
    divergence = np.where(p > 0, p * np.log(np.where(p > 0, p / np.where(q > 0, q, 1), 1)), 0)
    found = compare_scores([reference[:2], reference[2:]], [other[:2], other[2:]])
    assert found.kl_divergence == pytest.approx(divergence.sum(-1).mean(), rel=1e-4)
    assert found.agreement == pytest.approx((reference.argmax(-1) == other.argmax(-1)).mean())
