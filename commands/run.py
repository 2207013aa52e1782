"""How every command runs: a user's mistake is one line on stderr and exit status 2.

A command is a module with three functions: `make_parser()`, `run(arguments)`, and `main(argv)`,
which calls `run_command(make_parser, run, argv)`. It imports heavy packages inside `run`, so that
`--help` answers at once and needs nothing installed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

from commands.arguments import CommandParser
from commands.early_interrupt import EXIT_INTERRUPTED, end_at_once
from commands.errors import (
    EXIT_TIME_IS_UP,
    EXIT_USER_ERROR,
    SpeechWarning,
    Terminated,
    TimeIsUp,
    UserError,
)
from commands.interruption import format_command
from commands.progress import tell
from commands.standard_streams import ReaderLeft, ready_streams

EXIT_OK = 0
SIGNALLED = 128  # + the signal: what shells report of a process that one has ended
EXIT_READER_LEFT = SIGNALLED + 13  # SIGPIPE, which Windows has no name for

_ENDING = ("SIGTERM", "SIGHUP", "SIGBREAK")  # not every system has all of them


def run_command(
    make_parser: Callable[[], CommandParser],
    run: Callable[[argparse.Namespace], None],
    argv: Sequence[str] | None,
) -> int:
    """Parse `argv`, call `run` and return the exit status, as `run_cli` does.

    `arguments.command_line` holds what was typed, for messages that say how to go on.
    """

    def command(argv: Sequence[str] | None) -> None:
        parser = make_parser()
        arguments = parser.parse_args(argv)
        arguments.command_line = format_command(parser.module, argv)
        _check_python(parser.module)
        run(arguments)

    command.__module__ = run.__module__
    return run_cli(command, argv)


def run_cli(command: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None) -> int:
    """Run `command(argv)` and return the process exit status.

    `UserError`, operating-system errors (missing file, full disk) and packages that are not
    installed become one line on stderr and status 2. Ctrl-C becomes status 130, SIGTERM 143, the
    end of `--max-minutes` 75, and a reader of stdout that left early 141. Anything else is a
    defect of this project and keeps its traceback.
    """
    is_program = argv is None  # otherwise the caller of this function owns the process
    interrupts = Interrupts()
    with ready_streams():
        try:
            with (
                signals_raised(interrupts) if is_program else nullcontext(),
                _short_warnings(),
            ):
                command(argv)
            sys.stdout.flush()
        except UserError as error:
            return _report(str(error))
        except ReaderLeft:  # as `| head` does, which is no error
            return EXIT_READER_LEFT
        except TimeIsUp:
            return EXIT_TIME_IS_UP
        except ImportError as error:
            if interrupts.are_noted:  # numpy turns Ctrl-C into such an error
                return _report_interrupt()
            return _report_missing(error, _command_name(command))
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            return _report(f"{error.strerror or error}{where}")
        except Terminated as error:
            print("terminated", file=sys.stderr)
            return SIGNALLED + error.signal_number
        except KeyboardInterrupt:
            return _report_interrupt()
    return EXIT_OK


class Interrupts:
    """Notes Ctrl-C, because extension modules may turn it into other errors."""

    def __init__(self) -> None:
        self.are_noted = False

    def note(self, _: int, __: FrameType | None) -> None:
        """A signal handler."""
        self.are_noted = True
        raise KeyboardInterrupt


@contextmanager
def signals_raised(interrupts: Interrupts | None = None) -> Iterator[None]:
    """Raise `Terminated` where a signal would end the process at once, and note Ctrl-C.

    Unfinished work is then cleaned up: files that were begun, programs that were started. Signals
    that are ignored (`nohup`) or handled stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():  # Python allows it there only
        yield
        return
    process = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        if os.getpid() == process:
            raise Terminated(number)
        signal.signal(number, signal.SIG_DFL)  # a forked worker: its parent cleans up
        os.kill(os.getpid(), number)

    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    raised = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    handler = signal.getsignal(signal.SIGINT)
    is_noted = interrupts is not None and handler in (signal.default_int_handler, end_at_once)
    try:
        if interrupts is not None and is_noted:
            signal.signal(signal.SIGINT, interrupts.note)
        for number in raised:
            signal.signal(number, end)
        yield
    finally:
        if is_noted:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in raised:
            signal.signal(number, signal.SIG_DFL)


def _command_name(command: Callable[[Sequence[str] | None], None]) -> str:
    """The command's module, even where Python calls it __main__."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if command.__module__ == "__main__" and spec is not None:
        return str(spec.name)
    return command.__module__


def _check_python(command: str) -> None:
    """Raises `UserError` if this Python is too old for the command."""
    from commands.extras import explain_old_python

    if message := explain_old_python(command):
        raise UserError(message)


def _report_interrupt() -> int:
    print("interrupted", file=sys.stderr)
    return EXIT_INTERRUPTED


def _report_missing(error: ImportError, command: str) -> int:
    """Report a package that an extra of this project brings; raise any other failed import."""
    from commands.extras import explain_missing

    message = explain_missing(error, command) if isinstance(error, ModuleNotFoundError) else None
    if message is None:
        raise error
    return _report(message)


def _report(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return EXIT_USER_ERROR


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Print each `SpeechWarning` as one line on stderr. Other warnings are shown as usual."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def report(
            message: Warning | str, category: type[Warning], *where: Any, **more: Any
        ) -> None:
            if issubclass(category, SpeechWarning):
                tell("warning: " + " ".join(str(message).split()))
            else:
                show(message, category, *where, **more)

        warnings.simplefilter("always", SpeechWarning)
        warnings.showwarning = report
        yield
