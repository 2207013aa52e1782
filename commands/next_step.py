"""What a finished command says: what it wrote, and which command takes it up."""

from __future__ import annotations

import shlex
from pathlib import Path


def print_next(*commands: str) -> None:
    """The commands that can follow, one a line."""
    for command in commands:
        print(f"next: {command}")


def export_command(model: Path) -> str:
    """What makes a bundle of a trained model."""
    return (
        f"python -m export.build --model {quote(model)} --codec CODEC --voice NAME=FILE "
        "--output engine"
    )


def quote(path: Path | str) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))
