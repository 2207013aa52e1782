"""The parser of every command: `--version`, one-line mistakes, and a help page of one form.

In: a command's module and what it does. Out: an argparse parser, to which the command adds its
options (`commands.options` has those that several commands share). Needs the standard library
only, so that `--help` works before anything is installed.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Any, NoReturn

from commands.launch import module_command, started_as
from commands.version import VERSION

TEXTS = ("text", "question")  # arguments that hold what people write


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that knows `--version` and reports a mistake in one line.

    module: the command's module, as in `train.lm`. Most callers want `command_parser`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.module = self.prog.removeprefix(module_command(""))
        if self.prog == module_command(self.module):
            self.prog = started_as(self.module)
        self.add_argument("--version", action="version", version=f"slm-deploy {VERSION}")

    def _print_message(self, message: str, file: Any = None) -> None:
        """A help that cannot be delivered is none, as in newer versions of Python than 3.10."""
        with suppress(OSError):
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2, as for every mistake of a user."""
        if message.startswith("unrecognized arguments"):
            message += self._quotes()
        self.exit(2, f"error: {' '.join(message.split())}; see {self.prog} --help\n")

    def _quotes(self) -> str:
        """Advice for words of a text that the shell took apart."""
        text = next((action for action in self._actions if action.dest in TEXTS), None)
        if text is None:
            return ""
        if not text.option_strings:
            return "; put the text in quotes"
        return f"; put the text in quotes, after {text.option_strings[-1]}"


def command_parser(module: str, description: str, *, more: str = "") -> CommandParser:
    """The parser of the command `python -m module`. Its messages name the console script if that
    was started.

    more: a text that is printed below the options as it is: examples, or where to get an input.
    """
    return CommandParser(
        prog=module_command(module),
        description=description,
        epilog=more or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
