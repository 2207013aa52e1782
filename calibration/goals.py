"""How far a quantized model may be from the float32 model.

In: words of a command line. Out: a `Goal`, which allows a finding or not. A finding says how far
one candidate is from the float32 model (`calibration.measurement.fidelity`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from calibration.measurement.fidelity import AudioFidelity, Fidelity
from commands.errors import UserError


class Finding(Protocol):
    """How far a candidate is from the float32 model."""

    @property
    def loss(self) -> float:
        """Larger is further away. Candidates are ranked by it."""

    @property
    def reason(self) -> str:
        """Why a weight is not quantized, if quantizing only this weight gives this finding."""

    def figures(self) -> dict[str, float]:
        """The finding's numbers, by their names in a calibration's record."""


Found = TypeVar("Found", bound=Finding)
Judged = TypeVar("Judged", contravariant=True)


class Goal(Protocol[Judged]):
    """What held-out sentences must keep. The most sensitive weights stay floats for it.

    `str` gives its option of the command line.
    """

    @property
    def advice(self) -> str:
        """What the user can do if the goal cannot be met."""

    def allows(self, finding: Judged) -> bool: ...


@dataclass(frozen=True)
class Budget:
    """The most KL divergence in nats, or the least agreement, of a language model."""

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
        return f"--budget {self.kind}={self.value:g}"

    @property
    def advice(self) -> str:
        return "allow more, or take another precision or method"

    def allows(self, finding: Fidelity) -> bool:
        if self.kind == "kl":
            return finding.kl_divergence <= self.value
        return finding.agreement >= self.value


@dataclass(frozen=True)
class SignalToNoise:
    """The ratio in decibels that a codec's audio must keep."""

    least_db: float

    @classmethod
    def parse(cls, decibels: float) -> SignalToNoise:
        """Raises `UserError` for an impossible ratio."""
        if not 0 < decibels < 100:
            raise UserError(f"--snr {decibels:g}: decibels between 0 and 100 are possible")
        return cls(decibels)

    def __str__(self) -> str:
        return f"--snr {self.least_db:g}"

    @property
    def advice(self) -> str:
        return "allow less, or take another precision"

    def allows(self, finding: AudioFidelity) -> bool:
        return finding.snr_db >= self.least_db
