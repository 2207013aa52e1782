"""What commands and the Python interface raise, and warn of."""

from __future__ import annotations

EXIT_USER_ERROR = 2


class UserError(Exception):
    """Something the user can mend. The message says what, where and how, on one line."""


class SpeechWarning(UserWarning):
    """A recording or a text can be used, but is not what it should be. The message says which and
    why, on one line.

    Python's `warnings` show it once; `warnings.catch_warnings(record=True)` collects them, and
    `warnings.simplefilter("error", SpeechWarning)` makes them errors.
    """


class TextWarning(SpeechWarning):
    """A part of a text was not spoken as it stands."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end, and cleans up as after Ctrl-C. signal_number: how."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
