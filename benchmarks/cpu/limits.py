"""The limits of the machine, measured by native/bench/limits.cpp.

In: a number of threads. Out: figures by name. It compiles the program each time, in a second.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from commands.errors import UserError

SOURCE = Path(__file__).parents[2] / "native" / "bench" / "limits.cpp"


def measure_limits(threads: int) -> dict[str, float]:
    """Read bandwidth in GB/s, and products in billions a second.

    Raises:
        UserError: there is no C++ compiler.
    """
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise UserError("no C++ compiler: install g++ or clang++, or name one with CXX=")
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "limits")
        subprocess.run(
            [compiler, "-std=c++20", "-O2", "-pthread", SOURCE, "-o", program], check=True
        )
        told = subprocess.run([program, str(threads)], check=True, capture_output=True, text=True)
    limits: dict[str, float] = json.loads(told.stdout)
    return limits
