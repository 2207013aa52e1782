"""What a long command is doing, for people: one line for each stage.

observe 24 utterances ... 6 of 24, 31 s left ... 15 of 24, 14 s left ... 42.0 s

On a terminal the line is rewritten in place. Commands that print a table on standard output show
their progress on standard error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

Item = TypeVar("Item")
Track = Callable[[Iterable[Any]], Iterable[Any]]  # passes parts on, and counts those that are done

SECONDS_BETWEEN = 5.0  # between two figures if the line is not rewritten
SECONDS_BETWEEN_REWRITES = 0.2
PAUSES = 20  # a long stage prints less often: a 20th of the time that it has taken goes by
LINE_WIDTH = 100

_under_way: list[Stage] = []  # the stage whose line is open comes last


class Stage:
    """One stage under way.

    total: how many parts it has, None if that is not known. done: how many of them an earlier run
    has done.
    """

    def __init__(
        self,
        total: int | None,
        clock: Callable[[], float] = time.perf_counter,
        *,
        name: str = "",
        done: int = 0,
        to_stderr: bool = False,
    ) -> None:
        self._clock = clock
        self._name, self._note = name, ""
        self._to_stderr = to_stderr
        self._total, self._before, self._done = total, done, done
        self._started = self._told = clock()
        self._width = 0  # of the open line

    @property
    def seconds(self) -> float:
        return self._clock() - self._started

    def advance(self, parts: int = 1) -> None:
        """Count parts that are done, and show how far the stage has got from time to time."""
        self._done += parts
        if self._is_due() and self._done != self._total:
            self._told = self._clock()
            self._show(f"{self._describe()} ... ")

    def track(self, parts: Iterable[Item]) -> Iterator[Item]:
        """Yield the parts. A part counts as done when the next one is requested."""
        for part in parts:
            yield part
            self.advance()

    def note(self, text: str) -> None:
        """Figures to show beside the count from now on, such as losses."""
        self._note = text

    def open(self) -> None:
        """Begin the line."""
        self._show("")

    def break_line(self) -> None:
        """End the open line, because something else is about to be printed."""
        if self._width:
            print(file=self._stream, flush=True)
        self._width = 0

    def close(self) -> None:
        """End the line with the seconds that the stage took."""
        self._show(f"{self.seconds:.1f} s")
        self.break_line()

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._to_stderr else sys.stdout

    def _is_due(self) -> bool:
        least = SECONDS_BETWEEN_REWRITES if self._stream.isatty() else SECONDS_BETWEEN
        wait = least if self._stream.isatty() else max(least, self.seconds / PAUSES)
        return self._clock() - self._told >= wait

    def _show(self, text: str) -> None:
        if self._stream.isatty():
            line = f"{self._head()}{text}"
            print(f"\r{line:<{self._width}}", end="", file=self._stream, flush=True)
            self._width = len(line)
            return
        if self._width > LINE_WIDTH:
            self.break_line()
        more = text if self._width else f"{self._head()}{text}"
        print(more, end="", file=self._stream, flush=True)
        self._width += len(more)

    def _head(self) -> str:
        return f"{self._name} ... " if self._name else ""

    def _describe(self) -> str:
        note = f", {self._note}" if self._note else ""
        if self._total is None:
            return f"{self._done} done{note}"
        pace = self.seconds / max(1, self._done - self._before)
        left = pace * max(0, self._total - self._done)
        return f"{self._done} of {self._total}, {_describe_seconds(left)} left{note}"


@contextmanager
def progress(
    name: str, total: int | None = None, *, done: int = 0, to_stderr: bool = False
) -> Iterator[Stage]:
    """Print `name`, how far the stage has got, and the seconds that it took."""
    stage = Stage(total, name=name, done=done, to_stderr=to_stderr)
    _under_way.append(stage)
    stage.open()
    try:
        yield stage
    except BaseException:
        stage.break_line()  # an error message follows
        raise
    else:
        stage.close()
    finally:
        _under_way.remove(stage)


def tell(message: str) -> None:
    """Print a line on standard error. The open line of a stage is ended first."""
    if _under_way:
        _under_way[-1].break_line()
    print(message, file=sys.stderr, flush=True)


def _describe_seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
