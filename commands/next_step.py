"""What a finished command says: which commands can use its result."""

from __future__ import annotations

import shlex
from pathlib import Path


def print_next(*commands: str) -> None:
    """Print the commands that can follow, one on each line."""
    for command in commands:
        print(f"next: {command}")


def export_command(model: Path) -> str:
    """The command that makes a bundle of a trained model."""
    return (
        f"python -m export.build --model {quote(model)} --codec CODEC --voice NAME=FILE "
        "--output engine"
    )


def quote(path: Path | str) -> str:
    """A path, quoted for a shell."""
    return shlex.quote(str(path))
