"""What a finished command says: what it wrote, and which command takes it up."""

from __future__ import annotations

import shlex
from pathlib import Path


def print_next(*commands: str) -> None:
    """The commands that can follow, one a line."""
    for command in commands:
        print(f"next: {command}")


def quote(path: Path | str) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))
