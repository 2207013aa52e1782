"""Which weights suffer most from few bits, and which must stay floats to keep a goal.

In: a judge of candidates, and all quantized weights. Out: a finding for each weight, with no other
weight quantized, and the smallest number of sensitive weights to leave out. It knows no graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from calibration.goals import Found
from formats.calibration.quantized_weight import QuantizedWeight

Weights = Mapping[str, QuantizedWeight]


@dataclass(frozen=True)
class Sensitivity(Generic[Found]):
    """alone: the finding if only this weight is quantized, the most sensitive weight first."""

    alone: dict[str, Found]

    def ranked(self) -> list[str]:
        """Names, the most sensitive first."""
        return list(self.alone)


def measure_sensitivity(
    judge: Callable[[Weights], Found], weights: Weights, advance: Callable[[], None]
) -> Sensitivity[Found]:
    """Quantize one weight at a time. advance: called after each."""
    alone = {}
    for name, weight in weights.items():
        alone[name] = judge({name: weight})
        advance()
    ranked = sorted(alone.items(), key=lambda item: -item[1].loss)
    return Sensitivity(dict(ranked))


def choose_excluded(
    judge: Callable[[Weights], Found],
    weights: Weights,
    ranked: Sequence[str],
    allows: Callable[[Found], bool],
) -> tuple[list[str], Found] | None:
    """The fewest weights to leave out, and the finding without them.

    ranked: names, the most sensitive first. Returns None if nothing can be quantized within the
    goal. The search is a bisection, which assumes that leaving more weights out is never worse.
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
