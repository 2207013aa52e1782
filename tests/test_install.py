"""The installed product: what a wheel holds, and that a device needs neither torch nor onnx."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEVER_ON_A_DEVICE = {"torch", "onnx", "onnx-ir", "onnxscript", "transformers"}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT, cwd=folder
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel and its own requirements only."""
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    lock = ROOT / "requirements.lock"
    run(python, "-m", "pip", "install", "--quiet", "-c", lock, wheel, cwd=folder)
    return python


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    metadata = {top for top in tops if top.endswith(".dist-info")}
    assert tops - metadata == {
        "runtime",
        "export",
        "train",
        "calibration",
        "evaluation",
        "formats",
        "commands",
    }


def test_device_has_no_training_or_export_libraries(device: Path, tmp_path: Path) -> None:
    listed = run(device, "-m", "pip", "list", "--format=freeze", cwd=tmp_path)
    installed = {line.split("==")[0].lower() for line in listed.splitlines()}
    assert not installed & NEVER_ON_A_DEVICE


def test_device_speaks(device: Path, tiny_engine: Path, tmp_path: Path) -> None:
    command = ["-m", "runtime.tts", "They know it.", "--max-steps", "3", "-o", "out.wav"]
    run(device, *command, "--engine", tiny_engine, cwd=tmp_path)
    assert (tmp_path / "out.wav").stat().st_size > 44  # more than a WAV header
