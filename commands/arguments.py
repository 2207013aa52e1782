"""What command lines have in common: the parser with `--version`, and options of many.

In: what a command says about itself. Out: an argparse parser. Needs the standard library only, so
that `--help` works before anything is installed.
"""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from commands.version import VERSION

TEXTS = ("text", "question")  # arguments that hold what people write


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that knows `--version`, and tells a mistake in one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_argument("--version", action="version", version=f"slm-deploy {VERSION}")

    def error(self, message: str) -> NoReturn:
        """End with status 2, as for every user's mistake."""
        if message.startswith("unrecognized arguments") and self._takes_text():
            message += "; put the text in quotes"
        self.exit(2, f"error: {' '.join(message.split())}; see {self.prog} --help\n")

    def _takes_text(self) -> bool:
        return any(action.dest in TEXTS for action in self._actions)
