"""What is printed while a stage is under way."""

from __future__ import annotations

import sys

import pytest

from commands import progress as module
from commands.progress import Stage, progress, tell


class Clock:
    def __init__(self, seconds_a_part: float) -> None:
        self.now, self._step = 0.0, seconds_a_part

    def __call__(self) -> float:
        return self.now

    def work(self) -> None:
        self.now += self._step


def told(capsys: pytest.CaptureFixture[str], total: int | None, seconds: float, parts: int) -> str:
    clock = Clock(seconds)
    stage = Stage(total, clock)
    for _ in stage.track(range(parts)):
        clock.work()
    return capsys.readouterr().out


def test_short_stages_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, total=10, seconds=0.4, parts=10) == ""


def test_long_stages_say_how_far_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, total=4, seconds=6, parts=4) == (
        "1 of 4, 18 s left ... 2 of 4, 12 s left ... 3 of 4, 6 s left ... "
    )
    assert told(capsys, total=3, seconds=240, parts=2) == (
        "1 of 3, 8 min left ... 2 of 3, 4 min left ... "
    )
    assert told(capsys, total=None, seconds=3, parts=4) == "2 done ... 4 done ... "


def test_the_line_of_a_stage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 0.0)
    with progress("observe", 2) as stage:
        assert list(stage.track("ab")) == ["a", "b"]
    first, second, last = capsys.readouterr().out.split(" ... ")
    assert (first, second.split(",")[0]) == ("observe", "1 of 2")
    assert last.endswith(" s\n")


def test_an_error_ends_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), progress("speak"):
        raise KeyError
    assert capsys.readouterr().out == "speak ... \n"


def test_parts_that_were_done_before_do_not_count_for_the_pace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock(6)
    stage = Stage(10, clock, done=8)
    clock.work()
    stage.advance()
    assert capsys.readouterr().out == "9 of 10, 6 s left ... "


def test_notes_stand_beside_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock(6)
    stage = Stage(3, clock)
    stage.note("loss 0.125")
    clock.work()
    stage.advance()
    assert capsys.readouterr().out == "1 of 3, 12 s left, loss 0.125 ... "


def test_hours_of_work_print_seldom(capsys: pytest.CaptureFixture[str]) -> None:
    printed = told(capsys, total=None, seconds=6, parts=6000)  # ten hours
    assert printed.count("...") < 150
    assert max(map(len, printed.splitlines())) < 130


def test_a_terminal_rewrites_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_REWRITES", 0.0)
    with progress("observe", 2) as stage:
        assert list(stage.track("ab")) == ["a", "b"]
    *rewritten, last = capsys.readouterr().out.split("\r")
    assert rewritten[0] == ""
    assert rewritten[1].strip() == "observe ..."
    assert rewritten[2].startswith("observe ... 1 of 2")
    assert last.startswith("observe ... ")
    assert last.endswith("\n")


def test_messages_do_not_break_into_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    tell("before")
    with progress("read", to_stderr=True):
        tell("left out: a.wav")
    tell("after")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == ["before", "read ... ", "left out: a.wav"]
    assert lines[3].startswith("read ... ")
    assert lines[4] == "after"
