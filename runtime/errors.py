"""A user's mistake, and how every command line reports it: one line on stderr, exit status 2."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

EXIT_OK = 0
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, what shells report for Ctrl-C


class UserError(Exception):
    """Something the user can mend. The message says what, where and how, on one line."""


def run_cli(command: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None) -> int:
    """Run `command(argv)` and return the process exit status.

    `UserError`, operating-system errors (missing file, full disk) and packages that are not
    installed become one line on stderr and status 2; Ctrl-C becomes status 130. Anything else is a
    defect of this project and keeps its traceback.
    """
    try:
        command(argv)
    except UserError as error:
        return _report(str(error))
    except ModuleNotFoundError as error:
        return _report_missing(error, _command_name(command))
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


def _command_name(command: Callable[[Sequence[str] | None], None]) -> str:
    """The module whose command this is, also where Python calls it __main__."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if command.__module__ == "__main__" and spec is not None:
        return str(spec.name)
    return command.__module__


def _report_missing(error: ModuleNotFoundError, command: str) -> int:
    """Report a package that an extra of this project brings; raise any other failed import."""
    from runtime.extras import explain_missing

    message = explain_missing(error, command)
    if message is None:
        raise error
    return _report(message)


def _report(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return EXIT_USER_ERROR
