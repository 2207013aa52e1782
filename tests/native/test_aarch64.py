"""The engine on other kinds of processors, emulated: they say the same as this one."""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from native import build

ROOT = Path(__file__).parents[2]
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64-static"
SYSROOT = "/usr/aarch64-linux-gnu"
TARGET = "linux-aarch64"
SAMPLE = ROOT / "samples" / "cpp"
JSON_READER = ROOT / "native" / "engine" / "weights" / "json.cpp"
EMULATED = (EMULATOR, "-L", SYSROOT, "-cpu")
# What processors take: the newest, one without matrix products, one without dot products.
KERNELS = {"max": "neoni8mm", "cortex-a76": "neondot", "cortex-a72": "neon"}

MISSING = [tool for tool in (COMPILER, EMULATOR, "cmake") if not shutil.which(tool)]
pytestmark = pytest.mark.skipif(
    bool(MISSING),
    reason=f"no {', '.join(MISSING)} (Debian: g++-aarch64-linux-gnu, qemu-user-static, cmake)",
)


def build_program(compiler: str, library: Path, output: Path) -> Path:
    """samples/cpp on a library."""
    sources = [*map(str, SAMPLE.glob("*.cpp")), str(JSON_READER)]
    includes = [f"-I{folder}" for folder in build.INCLUDE_FOLDERS]
    linked = [str(library), f"-Wl,-rpath,{library.parent}"]
    command = [compiler, "-std=c++20", "-O1", *includes, *sources, *linked, "-o", str(output)]
    subprocess.run(command, check=True)
    return output


def speak(program: list[str], engine: Path, output: Path) -> tuple[np.ndarray, str]:
    """The samples of some tokens, and what the program says about itself."""
    tokens = ",".join(str(token) for token in range(20, 45))
    words = [*program, str(engine), "--tokens", tokens, "--seed", "7", "-o", str(output)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    with wave.open(str(output)) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16), done.stderr


def test_emulated_arm_processors_say_the_same(
    native_library: Path, tiny_native_engine: Path, tmp_path: Path
) -> None:
    library, _ = build.build(TARGET, COMPILER)
    here = build_program("c++", native_library, tmp_path / "here")
    there = build_program(COMPILER, library, tmp_path / "there")
    ours, _ = speak([str(here)], tiny_native_engine, tmp_path / "here.wav")
    assert ours.size > 1_000
    for processor, kernels in KERNELS.items():
        program = [*EMULATED, processor, str(there)]
        theirs, said = speak(program, tiny_native_engine, tmp_path / f"{processor}.wav")
        assert f" {kernels}," in said
        np.testing.assert_array_equal(theirs, ours)


def test_emulated_kernels_do_what_portable_ones_do() -> None:
    """CMake's own tests, but for two that take minutes here."""
    folder = ROOT / "build" / "native" / "checked-aarch64"
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), "-DSLM_CUDA=OFF"]
    for name, value in {
        "SYSTEM_NAME": "Linux",
        "SYSTEM_PROCESSOR": "aarch64",
        "CXX_COMPILER": COMPILER,
        "CROSSCOMPILING_EMULATOR": ";".join([*EMULATED, "max"]),
    }.items():
        configure.append(f"-DCMAKE_{name}={value}")
    programs = ["cmake", "--build", str(folder), "--parallel", "2", "--target", "engine_tests"]
    left_out = ["--exclude-regex", "alias_free|codec_test|memory_test"]
    for command in (
        configure,
        programs,
        ["ctest", "--test-dir", str(folder), "--output-on-failure", *left_out],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-5_000:]
    assert "100% tests passed" in done.stdout
