"""What command lines have in common: the parser with `--version`, and options of many.

In: what a command says about itself. Out: an argparse parser. Needs the standard library only, so
that `--help` works before anything is installed.
"""

from __future__ import annotations

import argparse
from typing import Any

from runtime.backend_names import AUTO, BACKENDS
from runtime.version import VERSION


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that knows `--version`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_argument("--version", action="version", version=f"slm-deploy {VERSION}")


def add_backend(parser: argparse.ArgumentParser) -> None:
    """The option --backend."""
    others = ", ".join(name for name in BACKENDS if name != AUTO)
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default=AUTO,
        metavar="NAME",
        help=f"default: {AUTO} (what the engine was built for); else one of: {others}",
    )
