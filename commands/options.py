"""Options that several commands share, so that one word means one thing everywhere.

In: a parser or a group of one. Out: the same with one option more, checked while the command line
is parsed. A command calls the functions of the options that it needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

Options = argparse._ActionsContainer  # a parser or a group

FRONTENDS = {"none": "the text as it is written", "hibari": "English phonemes"}
GOES_ON = "the same command goes on where it stopped"


def whole_from(least: int) -> Callable[[str], int]:
    """The type of an argument: a whole number of at least `least`."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least}, not {text!r}")
        return int(text)

    return parse


def number_above(bound: float) -> Callable[[str], float]:
    """The type of an argument: a finite number above `bound`."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not bound < number < float("inf"):
            raise argparse.ArgumentTypeError(f"must be a number above {bound:g}, not {text!r}")
        return number

    return parse


def add_choice(
    options: Options, option: str, meanings: Mapping[str, str], default: str | None, purpose: str
) -> None:
    """An option that takes one of a few words. The help says what each word means."""
    words = "; ".join(
        f"{word}{' (default)' if word == default else ''}: {meaning}"
        for word, meaning in meanings.items()
    )
    options.add_argument(
        option, choices=tuple(meanings), default=default, help=_escape(f"{purpose}: {words}")
    )


def add_output(options: Options, purpose: str, default: str | None = None) -> None:
    """`--output PATH`; required unless there is a default."""
    options.add_argument(
        "--output",
        type=Path,
        required=default is None,
        default=None if default is None else Path(default),
        metavar="PATH",
        help=_with_default(purpose, default),
    )


def add_limit(options: Options, what: str, default: int | None = None) -> None:
    """`--limit N`: use only the first N of `what`."""
    add_count(options, "--limit", f"use only the first N {what}", default)


def add_count(
    options: Options, option: str, purpose: str, default: int | None = None, least: int = 1
) -> None:
    """An option that takes a whole number of at least `least`."""
    options.add_argument(
        option,
        type=whole_from(least),
        default=default,
        metavar="N",
        help=_with_default(purpose, default),
    )


def add_threads(options: Options, whose: str) -> None:
    """`--threads N`."""
    add_count(options, "--threads", f"CPU threads of {whose}")


def add_seed(options: Options, option: str = "--seed", purpose: str = "random seed") -> None:
    """`--seed N`, 0 by default."""
    add_count(options, option, purpose, default=0, least=0)


def add_device(options: Options) -> None:
    """`--device NAME`: a torch device."""
    options.add_argument(
        "--device", default="cpu", metavar="NAME", help="torch device (default: cpu)"
    )


def add_frontend(options: Options) -> None:
    """`--frontend NAME` and `--language NAME`: how a text is written for the model."""
    add_choice(options, "--frontend", FRONTENDS, "none", "what the model reads")
    options.add_argument(
        "--language",
        default="en-us",
        metavar="NAME",
        help="language of the frontend (default: en-us)",
    )


def add_engine(options: Options, default: str | None = None) -> None:
    """`--engine DIR`: one bundle; required unless there is a default."""
    options.add_argument(
        "--engine",
        type=Path,
        required=default is None,
        default=None if default is None else Path(default),
        metavar="DIR",
        help=_with_default("directory of the bundle", default),
    )


def add_max_minutes(options: Options) -> None:
    """`--max-minutes MINUTES`: pause then, as after Ctrl-C.

    `commands.interruption.Interruption` takes the value.
    """
    options.add_argument(
        "--max-minutes",
        type=number_above(0),
        metavar="MINUTES",
        help=f"stop after this time, keep what is done and exit with status 75; {GOES_ON}",
    )


def add_resume(options: Options) -> None:
    """`--resume`: go on with kept work although the settings have changed."""
    options.add_argument(
        "--resume",
        action="store_true",
        help="continue a run that was begun with other settings; with the same settings "
        "this option is not needed",
    )


def add_former(options: Options, former: str, present: str) -> None:
    """An option that has another name now: it ends the command with a message."""
    options.add_argument(former, nargs="?", action=_Former, present=present, help=argparse.SUPPRESS)


class _Former(argparse.Action):
    def __init__(self, *args: Any, present: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._present = present

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> NoReturn:
        parser.error(f"{option_string} is now called {self._present}")


def _with_default(purpose: str, default: object) -> str:
    return _escape(purpose if default is None else f"{purpose} (default: {default})")


def _escape(text: str) -> str:
    """Text that argparse shows as it is."""
    return text.replace("%", "%%")
