"""Ctrl-C while a program is still importing: one word instead of a traceback.

In: nothing. Out: a signal handler, until `commands.run.run_cli` puts its own in its place. It
needs the standard library only, and little of that, because it is imported before all else.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

EXIT_INTERRUPTED = 128 + signal.SIGINT


def end_at_once(_: int, __: FrameType | None) -> None:
    """Nothing has been begun that would have to be undone."""
    os.write(2, b"interrupted\n")
    os._exit(EXIT_INTERRUPTED)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
    signal.signal(signal.SIGINT, end_at_once)
