"""Stop a long command without loss: it finishes its step, saves and says how to go on.

Out: an `Interruption` that a loop checks between its steps. It stops for Ctrl-C, for SIGTERM, which
schedulers and `docker stop` send, and when the time of `--max-minutes` is over. A second signal
ends the process at once. It does not know what is saved.
"""

from __future__ import annotations

import math
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

from commands.errors import TimeIsUp
from commands.launch import started_as
from commands.progress import tell

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTED = b"\nstopping after this step, then saving; repeat it to stop at once, without saving\n"
_EXIT_BY_SIGNAL = 128  # plus the signal's number, as shells report it


class Interruption:
    """A context in which the first signal is noted instead of ending the process.

    Signals that are ignored stay ignored, as in the background of a shell. Only the main thread can
    note signals. max_minutes: counted from the beginning of the command.
    """

    def __init__(
        self, max_minutes: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._end = math.inf if max_minutes is None else clock() + 60 * max_minutes
        self._signal: int | None = None
        self._before: dict[int, Any] = {}
        self._process = os.getpid()
        self._is_over = False

    @property
    def requested(self) -> bool:
        """Whether to stop after this step. It stays true once it is."""
        self._is_over = self._is_over or self._signal is not None or self._clock() >= self._end
        return self._is_over

    @property
    def noted(self) -> bool:
        """Whether `requested` has been true: whether a loop has stopped for it."""
        return self._is_over

    def request(self) -> None:
        """Stop as another process of the same run does."""
        self._is_over = True

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a loader's worker: it ends with the command
            return
        for known in self._before:
            signal.signal(known, signal.SIG_DFL)
        self._signal = number
        os.write(2, _NOTED)  # print is not safe within a signal

    def leave(self, message: str) -> NoReturn:
        """Print `message` and end the command: as the signal would have, or as time is up."""
        tell(message)
        if self._signal == signal.SIGTERM:
            raise SystemExit(_EXIT_BY_SIGNAL + signal.SIGTERM)
        if self._signal is None:
            raise TimeIsUp
        raise KeyboardInterrupt

    def leave_if_requested(self, message: str) -> None:
        """`leave` if the command is to stop now."""
        if self.requested:
            self.leave(message)


def format_command(module: str, argv: Sequence[str] | None) -> str:
    """The command line that was typed, to be typed again."""
    return f"{started_as(module)} {shlex.join(sys.argv[1:] if argv is None else argv)}".rstrip()
