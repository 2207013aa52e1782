"""The limits of the machine, measured by the engine's code in native/bench/limits.cpp.

In: a number of threads. Out: figures by name, or the bandwidth of this moment as often as it is
asked for. It compiles the program each time, in a second.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from commands.errors import UserError

NATIVE = Path(__file__).parents[2] / "native"
SOURCES = (
    NATIVE / "bench" / "limits.cpp",
    *sorted((NATIVE / "engine" / "limits").glob("*.cpp")),
    NATIVE / "engine" / "kernels" / "processor.cpp",
)


def measure_limits(threads: int) -> dict[str, float]:
    """Read bandwidth in GB/s, and products in billions a second.

    Raises:
        UserError: there is no C++ compiler.
    """
    with _program() as program:
        told = subprocess.run([program, str(threads)], check=True, capture_output=True, text=True)
    limits: dict[str, float] = json.loads(told.stdout)
    return limits


class ReadingAlone:
    """Takes its turn among engines: how long only reading as many bytes would take now."""

    name = "reading alone"

    def __init__(self, process: subprocess.Popen[str], size_bytes: float) -> None:
        self._process = process
        self._size_bytes = size_bytes

    def ask(self, request: Mapping[str, object]) -> list[float]:
        """Seconds, whatever engines are asked to do."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return [self._size_bytes / 1e9 / float(self._process.stdout.readline())]


@contextmanager
def reading_alone(threads: int, size_bytes: float) -> Iterator[ReadingAlone]:
    """Start the program that reads.

    Raises:
        UserError: there is no C++ compiler.
    """
    pipe = subprocess.PIPE
    with (
        _program() as program,
        subprocess.Popen([program, str(threads), "read"], stdin=pipe, stdout=pipe, text=True) as it,
    ):
        yield ReadingAlone(it, size_bytes)


@contextmanager
def _program() -> Iterator[str]:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise UserError("no C++ compiler: install g++ or clang++, or name one with CXX=")
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "limits")
        flags: list[str | Path] = ["-std=c++20", "-O2", "-pthread", "-I", NATIVE / "engine"]
        subprocess.run([compiler, *flags, *SOURCES, "-o", program], check=True)
        yield program
