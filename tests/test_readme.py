"""Every command of the README, run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


def run(command: str, folder: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_demo_is_the_first_command() -> None:
    assert commands()[0].startswith("make demo TEXT=")


def test_demo_writes_speech() -> None:
    run(commands()[0], ROOT)
    assert (ROOT / "demo.wav").stat().st_size > 16_000  # more than half a second


@pytest.fixture(scope="module")
def workspace(readme_workspace: Path) -> Path:
    """A folder with the files that the README's commands name, tiny ones."""
    return readme_workspace


def test_commands_and_python_run_in_order(workspace: Path) -> None:
    for command in commands()[1:]:
        run(command, workspace)
    for index, block in enumerate(blocks("python")):
        script = workspace / f"block_{index}.py"
        script.write_text(block, encoding="utf-8")
        run(f"python {script.name}", workspace)
    for file in ("out.wav", "profile.json", "tokens", "engine/manifest.json"):
        assert (workspace / file).exists(), file
