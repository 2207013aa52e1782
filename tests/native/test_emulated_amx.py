"""Kernels for AMX on an emulated processor, where the variable BOCHS names a Bochs that has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EMULATED = Path(__file__).parents[2] / "native" / "tests" / "emulated"


@pytest.mark.skipif("BOCHS" not in os.environ, reason="no Bochs: docs/native-engine.md, AMX")
def test_emulated_tiles_do_what_is_documented() -> None:
    words = [sys.executable, str(EMULATED / "run.py"), "--bochs", os.environ["BOCHS"]]
    source = str(EMULATED / "amx_test.cpp")
    done = subprocess.run([*words, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "products: avx512amx" in done.stdout


def test_a_missing_emulator_is_one_line() -> None:
    words = [sys.executable, str(EMULATED / "run.py"), "--bochs", "no-such-bochs", "amx_test.cpp"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: no program no-such-bochs: give --bochs PATH\n"
