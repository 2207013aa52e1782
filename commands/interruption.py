"""Ctrl-C without loss: a long command finishes its step, saves and says how to go on.

Out: an `Interruption` that a loop looks at between its steps. SIGTERM counts as well, which is what
schedulers and `docker stop` send. A second signal ends the process at once. It does not know what
is saved.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTED = b"\nstopping after this step, then saving; once more ends it at once, without saving\n"
_EXIT_BY_SIGNAL = 128  # plus the signal's number, as shells report it


class Interruption:
    """Within its context the first signal is only noted. Signals that are ignored stay so, as in
    the background of a shell; threads other than the main one can note none."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._before: dict[int, Any] = {}
        self._process = os.getpid()

    @property
    def requested(self) -> bool:
        """Whether to stop after this step."""
        return self._signal is not None

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
        """End the command as the signal would have ended it, after `message`."""
        print(message, file=sys.stderr)
        if self._signal == signal.SIGTERM:
            raise SystemExit(_EXIT_BY_SIGNAL + signal.SIGTERM)
        raise KeyboardInterrupt


def format_command(module: str, argv: Sequence[str] | None) -> str:
    """The command line that was typed, to be typed again."""
    return shlex.join(["python", "-m", module, *(sys.argv[1:] if argv is None else argv)])
