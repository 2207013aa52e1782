"""What a calibration is doing, for people: one line a stage, how far it is, and what it took.

observe 24 utterances ... 6 of 24, 31 s left ... 15 of 24, 14 s left ... 42.0 s
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Track = Callable[[Iterable[Any]], Iterable[Any]]  # passes parts on, and notes each that is done

SECONDS_BETWEEN = 5.0  # figures; short stages print none


class Stage:
    """One stage under way. `total` counts its parts, as far as that is known."""

    def __init__(self, total: int | None, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._total, self._done = total, 0
        self._started = self._told = clock()

    @property
    def seconds(self) -> float:
        return self._clock() - self._started

    def advance(self) -> None:
        """One part is done: say so, now and then."""
        self._done += 1
        now = self._clock()
        if now - self._told < SECONDS_BETWEEN or self._done == self._total:
            return
        self._told = now
        print(f"{self._describe()} ...", end=" ", flush=True)

    def track(self, parts: Iterable[Item]) -> Iterator[Item]:
        """The parts, each of which is done when the next one is asked for."""
        for part in parts:
            yield part
            self.advance()

    def _describe(self) -> str:
        if self._total is None:
            return f"{self._done} done"
        left = self.seconds / self._done * max(0, self._total - self._done)
        return f"{self._done} of {self._total}, {_describe_seconds(left)} left"


@contextmanager
def progress(name: str, total: int | None = None) -> Iterator[Stage]:
    """Print `name`, how far the stage has got, and the seconds it took."""
    print(f"{name} ...", end=" ", flush=True)
    stage = Stage(total)
    try:
        yield stage
    except BaseException:
        print(flush=True)  # end the line: an error message follows
        raise
    print(f"{stage.seconds:.1f} s", flush=True)


def _describe_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
