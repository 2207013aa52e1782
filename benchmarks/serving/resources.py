"""What a process holds: memory, files and threads, on Linux.

In: its number. Out: `Held` at this moment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from commands.errors import UserError

MIB = 2**20


@dataclass(frozen=True)
class Held:
    """memory_mib: resident. files: open ones, with sockets."""

    memory_mib: float
    files: int
    threads: int


def held_by(process: int) -> Held:
    """Raises `UserError` if it cannot be seen."""
    folder = Path("/proc") / str(process)
    try:
        status = dict(
            line.split(":", 1)
            for line in (folder / "status").read_text().splitlines()
            if ":" in line
        )
        files = len(os.listdir(folder / "fd"))
    except OSError as error:
        raise UserError(f"process {process} cannot be seen: {error}; give its --pid") from None
    memory = 1024 * int(status["VmRSS"].split()[0]) / MIB
    return Held(memory, files, int(status["Threads"]))


def processor_seconds(process: int) -> float:
    """That it has worked so far, with all its threads and ended children.

    Raises:
        UserError: it cannot be seen.
    """
    try:
        told = (Path("/proc") / str(process) / "stat").read_text()
    except OSError as error:
        raise UserError(f"process {process} cannot be seen: {error}") from None
    fields = told.rpartition(")")[2].split()  # the name before may have spaces
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
