"""The engine's C++ tests and fuzz targets under sanitizers.

They are compiled in build/native, once: later runs compile what has changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUZZ_SECONDS = 30  # of each target; longer by hand, see docs/native-engine.md
BUILDS = {"address": "address,undefined", "thread": "thread"}
NO_TOOLS = not (shutil.which("cmake") and (shutil.which("c++") or shutil.which("g++")))
JOBS = str(min(4, os.cpu_count() or 1))

pytestmark = pytest.mark.skipif(NO_TOOLS, reason="no cmake or no C++ compiler")


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5_000:]
    return done.stdout


def build(name: str, *targets: str) -> Path:
    folder = ROOT / "build" / "native" / f"checked-{name}"
    run("cmake", "-S", ROOT, "-B", folder, "-DSLM_CUDA=OFF", f"-DSLM_SANITIZE={BUILDS[name]}")
    run("cmake", "--build", folder, "--parallel", JOBS, "--target", *targets)
    return folder


@pytest.mark.parametrize("name", BUILDS)
def test_programs_have_nothing_to_report(name: str) -> None:
    folder = build(name, "engine_tests")
    said = run("ctest", "--test-dir", folder, "--output-on-failure", "--exclude-regex", "snake")
    assert "100% tests passed" in said


@pytest.mark.parametrize("target", ["fuzz_bundles", "fuzz_interface"])
def test_damaged_input_is_refused(target: str, tmp_path: Path) -> None:
    folder = build("address", target)
    corpus = ROOT / "native" / "fuzz" / "corpus" / target
    said = run(
        *(folder / target, "--seconds", str(FUZZ_SECONDS), "--corpus", corpus),
        *("--save", tmp_path / "input"),
    )
    assert "damaged ones" in said


def test_measuring_programs_compile() -> None:
    folder = build("address", "engine_benches")
    done = subprocess.run([folder / "bench_steps"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: bench_steps")
