"""PyTorch for tests of a Python that has none: another Python, which has it, writes their files.

In: a function of tests/tiny_weights.py, and its arguments. Out: what it writes. NEWER_PYTHON names
that Python, as `make python310-check` does; it works until the tests end. Without one, tests of
such files are skipped.
"""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
import traceback
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
HAS_TORCH = find_spec("torch") is not None


def call_with_torch(function: str, *given: Any, **named: Any) -> None:
    """Call a function of tests/tiny_weights.py, here if PyTorch is here."""
    if HAS_TORCH:
        _call(function, given, named)
        return
    other = _other_python()
    assert other.stdin
    assert other.stdout
    pickle.dump((function, given, named), other.stdin)
    other.stdin.flush()
    failure = pickle.load(other.stdout)  # noqa: S301 (from a process of our own)
    assert not failure, failure


def _call(function: str, given: tuple[Any, ...], named: dict[str, Any]) -> None:
    getattr(import_module("tests.tiny_weights"), function)(*given, **named)


@functools.cache
def _other_python() -> subprocess.Popen[bytes]:
    """It ends when this process does, as its input ends then."""
    python = os.environ.get("NEWER_PYTHON")
    if not python:
        pytest.skip("no torch here, and NEWER_PYTHON names no Python that has it")
    command = [python, "-m", "tests.torch_elsewhere"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe)


def _answer_calls() -> None:
    """What the other Python does."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed here is no answer
    while True:
        try:
            function, given, named = pickle.load(sys.stdin.buffer)  # noqa: S301
        except EOFError:
            return
        try:
            _call(function, given, named)
            failure = ""
        except Exception:
            failure = traceback.format_exc()
        pickle.dump(failure, answers)
        answers.flush()


if __name__ == "__main__":
    _answer_calls()
