"""What all command lines have in common: the parser, with `--version`.

In: what a command says about itself. Out: an argparse parser. Needs the standard library only, so
that `--help` works before anything is installed.
"""

from __future__ import annotations

import argparse
from typing import Any

from runtime.version import VERSION


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that knows `--version`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_argument("--version", action="version", version=f"slm-deploy {VERSION}")
