"""Ctrl-C while a program is still importing: one word instead of a traceback.

In: nothing. Out: a signal handler, until `commands.run.run_cli` replaces it. It needs only a little
of the standard library, because it is imported before everything else.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

EXIT_INTERRUPTED = 128 + signal.SIGINT


def end_at_once(_: int, __: FrameType | None) -> None:
    """End the process. Nothing has begun yet that must be undone."""
    os.write(2, b"interrupted\n")
    os._exit(EXIT_INTERRUPTED)


# A signal that is ignored stays ignored, as in the background of a shell.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, end_at_once)
