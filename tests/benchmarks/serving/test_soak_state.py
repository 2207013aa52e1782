"""A soak is stopped and goes on: what its parts found adds up, and other settings are refused."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.serving.asking import Ask
from benchmarks.serving.over_http import OverHttp
from benchmarks.serving.resources import Held
from benchmarks.serving.soak import main as soak
from benchmarks.serving.soak_state import SoakState, read_state
from benchmarks.serving.targets import Rejected
from commands.interruption import Interruption

URL = "http://127.0.0.1:9"
INPUTS = {"url": URL, "requests": 1000}
IDLE = Held(100.0, 5, 2)
TIME_IS_UP = 75


def ended(end: Held, inputs: dict[str, object] = INPUTS, left: str = "") -> SoakState:
    return SoakState(inputs, 1000, [9.0], idle=IDLE, tenths=[IDLE], end=end, left=left)


def test_what_is_left_is_a_fault() -> None:
    assert ended(IDLE).faults() == []
    assert ended(Held(106.0, 7, 3), left="1 are spoken and 0 wait").faults() == [
        "memory grew by 6.0% after the first tenth",
        "2 files are left",
        "1 threads are left",
        "rows or places in the queue are left: 1 are spoken and 0 wait",
    ]
    assert ended(Held(200.0, 5, 2), {"requests": 60}).faults() == []
    pool = replace(ended(Held(100.0, 5, 4)), tenths=[Held(100.0, 30, 4)])
    assert pool.faults() == [], "a pool of threads is no leak if it does not grow"


def test_what_is_known_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "soak.json"
    state = ended(Held(104.0, 5, 2))
    state.write(path)
    assert read_state(path, INPUTS) == state
    with pytest.raises(Exception, match=r"begun with another url and another requests;"):
        read_state(path, {"url": "http://other", "requests": 10})
    path.write_text("[]")
    with pytest.raises(Exception, match="is no report of a soak"):
        read_state(path, INPUTS)


def test_a_stopped_soak_asks_for_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoken, stops_after = 0, 30

    def speak(self: OverHttp, ask: Ask) -> Generator[bytes, None, None]:
        nonlocal spoken
        spoken += 1
        yield bytes(1000)

    def garbage(self: OverHttp, number: int) -> None:
        nonlocal spoken
        spoken += 1
        raise Rejected("400")

    monkeypatch.setattr(OverHttp, "speak", speak)
    monkeypatch.setattr(OverHttp, "garbage", garbage)
    monkeypatch.setattr(Interruption, "requested", property(lambda self: spoken >= stops_after))
    report = tmp_path / "soak.json"
    options = ["--requests", "80", "--texts", "4", "--listeners", "3", "--pid", str(os.getpid())]
    command = [URL, *options, "--output", str(report)]
    assert soak(command) == TIME_IS_UP
    said = capsys.readouterr().err
    first = json.loads(report.read_text())
    assert 26 <= first["ended"] <= 28, "four were spoken alone"
    assert f"stopped: {first['ended']} of 80 requests have ended; go on" in said
    stops_after = 1000
    assert soak(command) == 0
    assert spoken == 80 + 2 * 4
    assert "80 requests in" in capsys.readouterr().out
    whole = json.loads(report.read_text())
    assert (whole["ended"], len(whole["parts"]), len(whole["tenths"])) == (80, 2, 10)
    assert sum(whole["counts"].values()) == 80
    assert whole["idle"] == first["idle"]
    assert soak(command) == 0, "it has nothing left to ask for"
    assert spoken == 80 + 2 * 4
    assert soak([*command, "--seed", "2"]) == 2
    assert "begun with another seed" in capsys.readouterr().err
