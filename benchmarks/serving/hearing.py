"""A listener who plays what comes: when the first audio came, and whether the player ran dry.

In: a target and an `Ask`. Out: `Heard`. The player begins with the first piece of audio.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from benchmarks.serving.asking import Ask
from benchmarks.serving.targets import Broken, Refused, Rejected, Target

AUDIBLE_SECONDS = 0.1  # a shorter gap is bridged by every player


class Outcome(Enum):
    """How it ended. BROKEN: by an error, at once or in mid-stream."""

    DONE = "done"
    REFUSED = "refused"
    BROKEN = "broken"


@dataclass(frozen=True)
class Heard:
    """seconds: from the request to the end. first_audio: seconds, if there was any.
    audio_seconds: that came. underrun: seconds, the most that the player was ahead of what had
    come. reason: why it did not end well."""

    outcome: Outcome
    seconds: float
    first_audio: float | None
    audio_seconds: float
    underrun: float
    reason: str = ""

    @property
    def real_time_factor(self) -> float:
        """Seconds of waiting for a second of audio."""
        return self.seconds / self.audio_seconds


def hear(target: Target, ask: Ask) -> Heard:
    """Listen to the end."""
    start = time.perf_counter()
    first: float | None = None
    audio = underrun = 0.0
    outcome, reason = Outcome.DONE, ""
    try:
        for piece in target.speak(ask):
            if not piece:
                continue
            now = time.perf_counter() - start
            first = now if first is None else first
            underrun = max(underrun, now - first - audio)
            audio += len(piece) / target.bytes_per_second
    except Refused as error:
        outcome, reason = Outcome.REFUSED, str(error)
    except (Broken, Rejected) as error:
        outcome, reason = Outcome.BROKEN, str(error)
    seconds = time.perf_counter() - start
    if outcome is Outcome.DONE and first is None:
        outcome, reason = Outcome.BROKEN, "it ended without audio"
    return Heard(outcome, seconds, first, audio, underrun, reason)


def hear_all(target: Target, asks: Sequence[Ask], moments: Sequence[float]) -> list[Heard]:
    """Ask at these seconds from now, however long the others take (an open loop); wait for all."""
    heard: list[Heard] = []
    listeners = [
        threading.Thread(target=lambda ask=ask: heard.append(hear(target, ask)), daemon=True)
        for ask in asks
    ]
    start = time.perf_counter()
    for listener, moment in zip(listeners, moments, strict=True):
        time.sleep(max(0.0, moment - (time.perf_counter() - start)))
        listener.start()
    for listener in listeners:
        listener.join()
    return heard
