"""`python -m runtime.batch` when somebody interrupts it: what it says and what its workers hear."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.batching.test_batch import (
    ROOT,
    TEXTS,
    command,
    engine,
    manifest,
    wait_for,
    workers_of,
    write_table,
)

__all__ = ["engine"]


@pytest.fixture(scope="module")
def endless_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For commands that are interrupted: no test is so late that all of it is spoken."""
    rows = [{"id": number, "text": TEXTS[number % 30]} for number in range(10_000)]
    return write_table(tmp_path_factory.mktemp("batch") / "endless.jsonl", rows)


def test_an_interrupted_command_says_how_to_go_on(
    engine: Path, endless_table: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    line = [sys.executable, "-m", "runtime.batch", *command(engine, endless_table, output)]
    process = subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    wait_for(process, lambda: [*output.glob("*.wav")])
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert "of 10000 texts are done" in said
    assert f"go on with: python -m runtime.batch --engine {engine}" in said
    assert 0 < len(manifest(output)) < 10_000


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("when", ["workers start", "files are written"])
def test_ctrl_c_is_for_the_command_not_for_its_workers(
    engine: Path, endless_table: Path, tmp_path: Path, when: str
) -> None:
    """As a terminal does: every process gets it, those that are being started as well."""
    output = tmp_path / "out"
    line = [sys.executable, "-m", "runtime.batch", *command(engine, endless_table, output)]
    process = subprocess.Popen(
        line,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=ROOT,
    )
    wait_for(process, lambda: [*output.glob("*.wav")] if when[0] == "f" else workers_of(process))
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in said
