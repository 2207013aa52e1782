"""Whole systems side by side: figures of what is said, the table, and refusals of one line."""

from __future__ import annotations

import json
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.systems.compare import main
from benchmarks.systems.installed_worker import size_bytes
from benchmarks.systems.report import format_report
from benchmarks.systems.roster import SYSTEMS
from benchmarks.systems.speaking import Worker

RATE_HZ = 8_000
PAUSE_SECONDS = 0.02


class TwoPieces:
    """A voice of silence, whose pieces take their time."""

    sample_rate_hz = RATE_HZ

    def stream(self, text: str, seed: int) -> Iterator[NDArray[np.float32]]:
        for number in (1, 2):
            time.sleep(PAUSE_SECONDS)
            yield np.full(number * RATE_HZ, 0.5, np.float32)


def test_a_worker_tells_what_it_took_and_writes_the_audio(tmp_path: Path) -> None:
    path = tmp_path / "said.wav"
    seconds, work, first, audio = Worker(TwoPieces).say("Yes.", 0, str(path))
    assert audio == 3.0
    assert PAUSE_SECONDS <= first <= seconds - PAUSE_SECONDS
    assert 0 <= work < seconds, "it slept"
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE_HZ, 3 * RATE_HZ)
        assert set(np.frombuffer(file.readframes(9), "<i2")) == {16_383}


def measured(factor: float) -> dict[str, Any]:
    """A system that takes `factor` of a sentence's time, and a tenth of that until the first."""
    return {
        "version": "1.0",
        "size_bytes": 12e6,
        "load_seconds": 0.5,
        "memory_mib": 100.0,
        "said": [[2 * factor, factor, 0.2 * factor, 2.0]] * 3,
    }


def test_the_table_has_medians_and_what_judges_said() -> None:
    ours, whole, noise = SYSTEMS[0], SYSTEMS[3], SYSTEMS[-1]
    report = {
        "systems": {each.name: measured(0.5) for each in (ours, whole, noise)},
        "judged": {
            "systems": {
                each.name: {"word_error_rate": 0.021, "dnsmos": {"ovrl": 3.0}}
                for each in (ours, whole)
            }
        },
    }
    _, _, *lines = format_report(report).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    figures = ["1.0", "0.500 (0.500)", "0.250", "100 (100)", "0.50", "100", "12", "2.1 %", "3.00"]
    assert cells[0] == [ours.name, *figures]
    assert cells[1][4] == "100 (100), whole"
    assert cells[2][-2:] == ["–", "–"], "nobody judges noise"


def test_the_size_of_a_package_is_without_bytecode(tmp_path: Path) -> None:
    (tmp_path / "inner" / "__pycache__").mkdir(parents=True)
    (tmp_path / "inner" / "module.py").write_bytes(bytes(7))
    (tmp_path / "inner" / "__pycache__" / "module.pyc").write_bytes(bytes(100))
    (tmp_path / "data").write_bytes(bytes(5))
    assert size_bytes(tmp_path) == 12
    assert size_bytes(tmp_path / "data") == 5


def test_an_environment_that_is_missing_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--environments", str(tmp_path / "none"), "--audio", str(tmp_path / "spoken")]
    assert main([*places, "--output", str(tmp_path / "systems.json")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("is not there; make it: make system-peers")
    assert not (tmp_path / "systems.json").exists()


def test_the_table_needs_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "systems.json"
    assert main(["--table", "--output", str(path)]) == 2
    assert "leave out --table to measure" in capsys.readouterr().err
    path.write_text(json.dumps({"systems": {SYSTEMS[0].name: measured(0.25)}}), encoding="utf-8")
    assert main(["--table", "--output", str(path)]) == 0
    assert "| 0.250 (0.250) |" in capsys.readouterr().out
