"""Programs that are measured in turn: each is a process that sleeps until it is asked.

In: a command. Out: seconds of what it is asked to do (`serving` has the protocol). Only one
of them works at a time.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from commands.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import Self

Request = Mapping[str, object]


class TakesTurns(Protocol):
    """What can be asked for figures."""

    @property
    def name(self) -> str: ...

    def ask(self, request: Request) -> list[float]:
        """The figures of one measurement."""


class Contestant:
    """A started program. load_seconds: what it says it took to load."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        word, _, seconds = self._read_line().partition(" ")
        if word != "ready":
            raise UserError(f"{name}: did not get ready; run it alone to see why: {command}")
        self.load_seconds = float(seconds)

    def ask(self, request: Request) -> list[float]:
        """The figures of one measurement."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        figures: list[float] = json.loads(self._read_line())
        return figures

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise UserError(f"{self.name} has ended; its own messages say why")
        return line.strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()


def measure_in_turn(
    contestants: Sequence[TakesTurns], request: Request, rounds: int
) -> dict[str, list[float]]:
    """Ask each of them once a round, in both orders alternately; returns all figures by name."""
    figures: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(rounds + 1):
        for contestant in contestants[:: 1 if number % 2 == 0 else -1]:
            found = contestant.ask(request)
            if number:  # the first round is slower
                figures[contestant.name] += found
    return figures


@contextmanager
def started(commands: Mapping[str, Sequence[str]]) -> Iterator[list[Contestant]]:
    """Start all of them, and end them afterwards."""
    with ExitStack() as stack:
        yield [stack.enter_context(Contestant(name, command)) for name, command in commands.items()]
