"""A user's mistake, and how every command line reports it: one line on stderr, exit status 2."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

EXIT_OK = 0
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, what shells report for Ctrl-C


class UserError(Exception):
    """Something the user can mend. The message says what, where and how, on one line."""


class TextWarning(UserWarning):
    """A part of a text was not spoken as it stands. The message says which, on one line.

    Python's `warnings` show it once; `warnings.catch_warnings(record=True)` collects them, and
    `warnings.simplefilter("error", TextWarning)` makes them errors.
    """


def run_cli(command: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None) -> int:
    """Run `command(argv)` and return the process exit status.

    `UserError` and operating-system errors (missing file, full disk) become one line on
    stderr and status 2; Ctrl-C becomes status 130. Anything else is a defect of this
    project and keeps its traceback.
    """
    try:
        with _telling_of_text():
            command(argv)
    except UserError as error:
        return _report(str(error))
    except BrokenPipeError:  # the reader of our stdout went away, as `| head` does
        sys.stderr.close()
        return EXIT_OK
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _report(f"{error.strerror or error}{where}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_OK


def _report(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return EXIT_USER_ERROR


@contextmanager
def _telling_of_text() -> Iterator[None]:
    """A `TextWarning` is one line on stderr, each time; other warnings are shown as usual."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, TextWarning):
                print("warning: " + " ".join(str(message).split()), file=sys.stderr)
            else:
                show(message, category, *where, **more)

        warnings.simplefilter("always", TextWarning)
        warnings.showwarning = tell
        yield
