"""What a scheduler takes on at most, and what it says when that is reached.

In: numbers. Out: the same, named. It knows no engines and no networks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SchedulerLimits:
    """rows: texts that are spoken side by side. waiting: that wait for a row at most; more are
    refused. held_seconds: of audio that a listener may leave untaken before nothing more is made
    for it. slow_seconds: it may leave chunks lying so long before it is given up.
    prompt_positions: of prompts that are read between two steps, if the engine can read them in
    parts; None: whole prompts. loads: seconds that the engine works for a second of audio of each
    of 1, 2, … streams; if they are known, no more texts begin than stay in real time."""

    rows: int
    waiting: int = 16
    held_seconds: float = 10.0
    slow_seconds: float = 60.0
    prompt_positions: int | None = None
    loads: tuple[float, ...] = ()

    @property
    def places(self) -> int:
        """Texts that are spoken or wait."""
        return self.rows + self.waiting


@dataclass(frozen=True)
class Load:
    """What the scheduler has to do at a moment."""

    waiting: int
    speaking: int
    rows: int


class Overloaded(Exception):
    """Too many texts wait. retry_after_seconds: until one of them will have begun, by estimate."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many texts are waiting; try again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class ShuttingDown(Exception):
    """No orders are taken any more."""
