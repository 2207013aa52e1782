"""What a soak has found so far: a file that says how far it is, so that it can go on.

In: what each part of it found. Out: one report of all parts. It knows neither targets nor threads.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.serving.resources import Held
from benchmarks.serving.soaking import Results
from commands.errors import UserError
from formats.files.atomic import write_text

GROWTH = 0.05
FEW = 1000  # requests: fewer only warm the server up


@dataclass
class SoakState:
    """inputs: what every part must have in common. ended: of the requests, the first ones. parts:
    seconds that each took. idle: before the first. tenths: after each tenth of the requests. end:
    when the last part was over. left: rows and places in the queue, in words."""

    inputs: dict[str, Any]
    ended: int = 0
    parts: list[float] = field(default_factory=list)
    audio_seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    idle: Held | None = None
    tenths: list[Held] = field(default_factory=list)
    end: Held | None = None
    left: str = ""

    @property
    def requests(self) -> int:
        return int(self.inputs["requests"])

    @property
    def is_complete(self) -> bool:
        return self.ended == self.requests

    @property
    def is_tenth(self) -> bool:
        """Whether the last request that ended was the last of a tenth."""
        return self.ended % max(1, self.requests // 10) == 0

    def add(self, results: Results, seconds: float, audio_seconds: float) -> None:
        """Another part."""
        self.parts.append(seconds)
        self.audio_seconds += audio_seconds
        self.counts = dict(sorted((Counter(self.counts) + results.counts).items()))
        self.wrong += results.wrong

    def faults(self) -> list[str]:
        """A line for each thing that is not as it must be."""
        assert self.idle is not None
        assert self.end is not None
        faults = [*self.wrong]
        growth = self.end.memory_mib / self.tenths[0].memory_mib - 1 if self.tenths else 0.0
        if growth > GROWTH and self.requests >= FEW:
            faults.append(f"memory grew by {growth:.1%} after the first tenth")
        early = self.tenths[0].threads if self.tenths else 0  # a pool grows until all are busy once
        for what, more in (
            ("files", self.end.files - self.idle.files),
            ("threads", self.end.threads - max(early, self.idle.threads)),
        ):
            if more > 0:
                faults.append(f"{more} {what} are left")
        if self.left:
            faults.append(f"rows or places in the queue are left: {self.left}")
        return faults

    def write(self, path: Path) -> None:
        report = {**asdict(self), "faults": self.faults()}
        write_text(path, json.dumps(report, indent=1) + "\n")


def read_state(path: Path | None, inputs: Mapping[str, Any]) -> SoakState:
    """What is known, or a new state.

    Raises:
        UserError: another file, or a soak with other settings or of another process.
    """
    if path is None or not path.exists():
        return SoakState(dict(inputs))
    try:
        report = json.loads(path.read_text("utf-8"))
        known = report["inputs"]
        if known == dict(inputs):
            return _from_report(report)
        others = [name for name in inputs if known.get(name) != inputs[name]]
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{path}: is no report of a soak; name another --output") from None
    raise UserError(
        f"{path}: was begun with another {' and another '.join(others)}; give the same command as "
        "then, or name another --output"
    )


def _from_report(report: dict[str, Any]) -> SoakState:
    del report["faults"]
    for name in ("idle", "end"):
        report[name] = Held(**report[name])
    report["tenths"] = [Held(**held) for held in report["tenths"]]
    return SoakState(**report)
