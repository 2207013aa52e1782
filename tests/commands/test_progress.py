"""What is printed while a stage is under way."""

from __future__ import annotations

import pytest

from commands import progress as module
from commands.progress import Stage, progress


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
