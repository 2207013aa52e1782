"""The paper's table in small: pairs, table and command, with judges that cost nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands.errors import UserError
from commands.run import EXIT_USER_ERROR
from samples.demo_voice import compare, paired_speed
from samples.demo_voice.paired_speed import Timing, summarise_timings
from tests.tiny_judges import use_tiny_judges


def test_speed_is_of_pairs() -> None:
    first = [Timing(0.8, 1.0), Timing(0.6, 0.9), None, Timing(1.0, 1.2)]
    other = [Timing(0.2, 0.4), Timing(0.3, 0.6), Timing(0.1, 0.1), Timing(0.2, 0.5)]
    speed = summarise_timings("other", first, other)
    assert speed.pairs == 3  # what one of them did not say is no pair
    assert speed.speed_up == pytest.approx(4.0)  # of 4, 2 and 5
    assert speed.quartiles == (pytest.approx(3.0), pytest.approx(4.5))
    assert speed.decoding_ms_per_second == pytest.approx(200)
    assert speed.real_time_factor == pytest.approx(0.5)
    assert summarise_timings("first", first, first).speed_up == 1.0
    with pytest.raises(UserError, match="said nothing"):
        summarise_timings("other", [None], [Timing(0.2, 0.4)])


def test_every_other_round_is_in_reverse(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Voice:
        def __init__(self, engine: Path, threads: int | None) -> None:
            self.name = engine.name

        def say(self, text: str, seed: int) -> Timing:
            said.append(f"{self.name}{seed}")
            return Timing(1.0 if self.name == "a" else 0.5, 1.0)

    monkeypatch.setattr(paired_speed, "TimedVoice", Voice)
    engines = {"one": Path("a"), "two": Path("b")}
    speeds = paired_speed.measure_speeds(engines, ["First.", "Second."], 2, None)
    assert said[:2] == ["a0", "b0"]  # to warm up
    assert said[2:6] == ["a0", "b0", "a1", "b1"]
    assert said[6:] == ["b0", "a0", "b1", "a1"]
    assert speeds["two"].speed_up == 2.0
    assert speeds["two"].pairs == 4


def test_the_command_writes_the_table(
    tmp_path: Path,
    tiny_engine: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_tiny_judges(monkeypatch, "whisper", "pocketsphinx")
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("They know it.\nWe read.\n", encoding="utf-8")
    arguments = [f"ntp={tiny_engine}", f"h3={tiny_engine}", "--rounds", "1"]
    arguments += ["--sentences", str(sentences), "--output", str(tmp_path / "out")]
    assert compare.main(arguments) == 0
    table = capsys.readouterr().out
    assert table == (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "+0.0 points (+0.0 … +0.0)" in table  # a model against itself
    assert "| 1.0× |" in table
    assert "in 2 pairs" in table
    comparison = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    ntp, h3 = comparison["models"]
    assert ntp["name"] == "ntp"
    assert ntp["speed"]["speed_up"] == 1.0
    assert h3["speed"]["speed_up"] > 0
    assert h3["word_error_rate"]["whisper"] == pytest.approx(3 / 5)
    assert (tmp_path / "out" / "comparison.png").is_file()


@pytest.mark.parametrize("names", [["one"], ["one", "one"]])
def test_two_bundles_are_needed(
    names: list[str], tiny_engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([f"{name}={tiny_engine}" for name in names]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "NAME=DIR NAME=DIR" in error
