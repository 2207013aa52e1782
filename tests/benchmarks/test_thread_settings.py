"""The benchmark of threads: who speaks when, beside whom, and the table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import thread_settings
from benchmarks.thread_settings import Row, TimedEngine, Timing, busy, format_rows, main, measure
from tests.runtime.tiny_bundle import write_bundle


def test_settings_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, int]] = []

    class Recorder(TimedEngine):
        def __init__(self, name: str) -> None:
            self.name = name

        def time(self, text: str, seed: int) -> Timing:
            said.append((self.name, seed))
            return Timing(0.5, 0.25)

    speakers: dict[str, TimedEngine] = {name: Recorder(name) for name in "ab"}
    rows = measure(speakers, "Yes.", rounds=2, neighbours=0)
    alone_and_beside = [*[("a", 0), ("b", 0)] * 2, *[("b", 1), ("a", 1)] * 2]
    assert said == [("a", 0), ("b", 0), *alone_and_beside]
    assert rows == [Row(name, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0.25) for name in "ab"]


def test_neighbours_are_busy_and_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def note(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        started.append(start(*arguments, **options))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(thread_settings.subprocess, "Popen", note)
    with busy(2):
        assert [process.poll() for process in started] == [None, None]
    assert all(process.returncode for process in started)


def test_the_table_compares_with_the_best_fixed_number() -> None:
    rows = [
        Row("default", (0.09, 0.10, 0.11), (0.18, 0.20, 0.22), 0.1),
        Row("1", (0.19, 0.20, 0.21), (0.2, 0.2, 0.2), 0.1),
        Row("2", (0.07, 0.08, 0.09), (0.2, 0.2, 0.2), 0.1),
    ]
    lines = format_rows(rows, 1).splitlines()
    assert lines[2].startswith("| default | 0.100 | 0.090 – 0.110 | 0.100 | 0.200 |")
    assert lines[2].endswith("| 2.00 |")
    assert lines[-2].startswith("alone: 1.25 × 2 threads")
    assert lines[-1] == "beside 1 busy: 2.00 × alone (limit 2.2)"


def test_an_engine_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = str(write_bundle(tmp_path / "engine"))
    assert main(["--engine", engine, "--rounds", "1", "--threads", "1", "--text", "Abc."]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("\n| ") == 3
    assert "1 threads" in printed.err


@pytest.mark.parametrize("option", ["--rounds", "--busy"])
def test_mistakes_are_one_line(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([option, "-1"])
    assert f"argument {option}: must be a whole number from" in capsys.readouterr().err


def test_it_runs_by_itself() -> None:
    command = [sys.executable, "-m", "benchmarks.thread_settings", "--help"]
    assert b"--busy" in subprocess.run(command, capture_output=True, check=True).stdout
