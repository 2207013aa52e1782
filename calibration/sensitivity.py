"""Which weights suffer most from few bits, and which must stay floats to meet a budget.

In: a judge of candidates and all quantized weights. Out: the fidelity with each weight quantized
alone, and the fewest of the most sensitive ones to leave out. It knows no graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from calibration.measurement.fidelity import Fidelity
from commands.errors import UserError
from formats.calibration.quantized_weight import QuantizedWeight

Weights = Mapping[str, QuantizedWeight]
JudgeWeights = Callable[[Weights], Fidelity]
Found = TypeVar("Found")  # what a judge finds


@dataclass(frozen=True)
class Budget:
    """What a quantized model may lose: KL divergence in nats at most, or agreement at least."""

    kind: Literal["kl", "agreement"]
    value: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`kl=0.02` or `agreement=0.95`. Raises `UserError` for anything else."""
        kind, _, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if kind == "kl" and 0.0 < number < float("inf"):
            return cls("kl", number)
        if kind == "agreement" and 0.0 < number <= 1.0:
            return cls("agreement", number)
        raise UserError(f"--budget {text}: write kl=0.02 or agreement=0.95")

    def __str__(self) -> str:
        return f"{self.kind}={self.value:g}"

    def allows(self, fidelity: Fidelity) -> bool:
        if self.kind == "kl":
            return fidelity.kl_divergence <= self.value
        return fidelity.agreement >= self.value


@dataclass(frozen=True)
class Sensitivity:
    """`alone`: fidelity with only that weight quantized, the most sensitive weight first."""

    alone: dict[str, Fidelity]

    def ranked(self) -> list[str]:
        return list(self.alone)


def measure_sensitivity(
    judge: JudgeWeights, weights: Weights, report: Callable[[str, Fidelity], None]
) -> Sensitivity:
    """Quantize one weight at a time. `report` is called after each."""
    alone = {}
    for name, weight in weights.items():
        alone[name] = judge({name: weight})
        report(name, alone[name])
    ranked = sorted(alone.items(), key=lambda item: -item[1].kl_divergence)
    return Sensitivity(dict(ranked))


def choose_excluded(
    judge: Callable[[Weights], Found],
    weights: Weights,
    ranked: Sequence[str],
    allows: Callable[[Found], bool],
) -> tuple[list[str], Found] | None:
    """(weights to leave out, what is found without them): the fewest of the most sensitive.

    ranked: names, the most sensitive first. None if not even the last one alone is allowed.
    Bisection: leaving more out is taken to be no worse.
    """

    def without(count: int) -> Found:
        kept = set(ranked[count:])
        return judge({name: weight for name, weight in weights.items() if name in kept})

    too_few, enough = -1, len(ranked)
    found: Found | None = None
    while enough - too_few > 1:
        count = max(0, (too_few + enough) // 2) if too_few >= 0 else 0
        candidate = without(count)
        if allows(candidate):
            enough, found = count, candidate
        else:
            too_few = count
    return None if found is None else ([*ranked[:enough]], found)
