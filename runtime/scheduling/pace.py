"""Whether one more stream leaves the others in real time, whatever else the machine has to do now.

In: what was measured at the start, and how long turns take. Out: yes or no. A turn is a step of all
rows, and what else is done before the next. Arithmetic only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

FULL, BUSY = 0.9, 0.4  # of the time that the audio of a turn plays for
MEMORY_SECONDS = 1.0  # of work; what is older hardly counts


class Pace:
    """By how much turns are slower than was measured."""

    def __init__(self, loads: Sequence[float], audio_a_turn: float) -> None:
        """loads: seconds of work for a second of audio of each of 1, 2, … streams; none: never
        full. audio_a_turn: seconds that a turn brings to each stream."""
        self._loads, self._audio_a_turn = loads, audio_a_turn
        # Seconds of the last turns; at first as if they had been what was measured.
        self._taken = self._expected = MEMORY_SECONDS

    def note(self, streams: int, seconds: float) -> None:
        """A turn of so many streams took so long. Without any it was for prompts or the codec,
        which are a part of the streams' loads."""
        if not self._loads:
            return
        expected = self._load(streams) * self._audio_a_turn if streams else 0.0
        memory = math.exp(-seconds / MEMORY_SECONDS)
        self._taken = memory * self._taken + seconds
        self._expected = memory * self._expected + expected

    @property
    def slowdown(self) -> float:
        """At least 1: work that new streams have not asked for yet does not make turns quick."""
        return max(1.0, self._taken / self._expected)

    def is_full(self, streams: int) -> bool:
        """Whether so many streams are too many. One is not: nobody else suffers by it."""
        return self._share(streams) > FULL

    def is_busy(self, streams: int) -> bool:
        """Whether so many leave little time to catch up in after a stall."""
        return self._share(streams) > BUSY

    def _share(self, streams: int) -> float:
        """Of the time that so many need; 0 for one, and if nothing was measured."""
        return self.slowdown * self._load(streams) if self._loads and streams > 1 else 0.0

    def _load(self, streams: int) -> float:
        """Beyond those that are known, in proportion."""
        known = min(streams, len(self._loads))
        return self._loads[known - 1] * streams / known
