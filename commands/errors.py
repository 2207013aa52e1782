"""What commands and the Python interface raise, and what they warn of."""

from __future__ import annotations

EXIT_USER_ERROR = 2
EXIT_TIME_IS_UP = 75  # EX_TEMPFAIL of sysexits.h: try again


class UserError(Exception):
    """A user's mistake. The message says in one line what failed, where, and how to fix it."""


class SpeechWarning(UserWarning):
    """A recording or a text is usable but faulty. The message says in one line what is wrong.

    Python's `warnings` show it once; `warnings.catch_warnings(record=True)` collects them, and
    `warnings.simplefilter("error", SpeechWarning)` makes them errors.
    """


class TextWarning(SpeechWarning):
    """A part of a text was not spoken as it was written."""


class Terminated(KeyboardInterrupt):
    """A signal asked the process to end; it cleans up as after Ctrl-C."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


class TimeIsUp(Exception):
    """The time of `--max-minutes` is over, and what is done is kept."""
