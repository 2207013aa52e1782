"""Judging answers, with a scripted bundle and a recogniser that hears what it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands.errors import EXIT_TIME_IS_UP, UserError
from evaluation import recognisers
from evaluation.answers import (
    Question,
    ask_all,
    format_figures,
    main,
    read_questions,
    summarise,
    word_error_rate,
    write_report,
)
from tests.runtime.tiny_bundle import SCRIPT_START, Scenario, write_bundle
from tests.tiny_judges import use_tiny_judges

WRITTEN = "It is twenty."
SCENARIO = Scenario(
    writes=f" {WRITTEN} aloud <sosp>", codes_a=tuple(range(SCRIPT_START, SCRIPT_START + 40))
)
QUESTIONS = [
    Question("Who?", WRITTEN, "people", "plain"),
    Question("What?", "It is twenty", "things"),
    Question("And what?", WRITTEN, "things", "plain"),
    Question("Why?", WRITTEN, "things"),
]
HEARD = ["it is 20", "It is twenty.", "It was twenty.", ""]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("chat") / "engine", SCENARIO)


def test_right_and_spoken_as_written_are_two_things(engine: Path, tmp_path: Path) -> None:
    heard = iter(HEARD)
    verdicts = list(ask_all(engine, QUESTIONS, lambda audio: next(heard)))
    assert [verdict.is_right for verdict in verdicts] == [True, False, True, True]
    assert [v.is_spoken_as_written for v in verdicts] == [True, True, False, False]
    report = summarise(verdicts)
    assert list(report) == ["people", "things", "plain", "all"]
    assert (report["all"].questions, report["all"].right) == (4, 0.75)
    assert report["all"].spoken_as_written == 0.5
    assert report["all"].word_error_rate == pytest.approx(4 / 12)
    assert report["plain"].word_error_rate == pytest.approx(1 / 6)
    assert report["all"].stopped == 1.0
    table = format_figures(report).splitlines()
    assert table[2].startswith("| people | 1 | 100.0% | 100.0% | 0.0% | 100.0% |")
    write_report(tmp_path / "out", report, verdicts)
    written = json.loads((tmp_path / "out" / "answers.json").read_text())
    assert written["figures"]["all"]["right"] == 0.75
    assert written["answers"][2]["heard"] == "It was twenty."
    assert written["answers"][2]["question"]["voice"] == "plain"
    assert (tmp_path / "out" / "answers.md").read_text().splitlines() == table


def test_silence_is_not_spoken_as_written(tmp_path: Path) -> None:
    silent = write_bundle(tmp_path / "engine", Scenario(writes=" No.<eos>"))

    def hear(audio: object) -> str:
        raise AssertionError("there is nothing to hear")

    (verdict,) = ask_all(silent, [Question("Who?", "No.")], hear)
    assert verdict.is_right
    assert not verdict.is_spoken_as_written
    assert summarise([verdict])["all"].real_time_factor is None


def test_a_text_without_words_counts_as_wrong() -> None:
    assert word_error_rate(["…"], ["…"]) == 1.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no questions"),
        ('{"question": "Who?"}', "line 1: must be a JSON object with 'question' and 'answer'"),
        ('{"question": "Who?", "answer": 3}', "line 1: 'answer'"),
        ('{"question": "Who?", "answer": "I", "speaker": "x"}', "line 1: 'speaker'"),
        ('{"question": "Who?", "answer": "I"}\nno', "line 2: "),
    ],
)
def test_faults_of_the_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_questions(path)
    with pytest.raises(UserError, match="no such file"):
        read_questions(tmp_path / "none.jsonl")


def test_a_missing_engine_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "Who?", "answer": "I"}')
    assert main(["--engine", str(tmp_path), "--questions", str(questions)]) == 2
    assert "not a bundle" in capsys.readouterr().err


def test_what_was_heard_is_kept(
    engine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    judges = use_tiny_judges(monkeypatch, "whisper")
    monkeypatch.setattr(recognisers, "WhisperTiny", recognisers.RECOGNISERS["whisper"])
    questions = tmp_path / "questions.jsonl"
    asked = [{"question": text, "answer": WRITTEN, "voice": "plain"} for text in ("Who?", "Why?")]
    questions.write_text("\n".join(map(json.dumps, asked)))
    words = ["--engine", str(engine), "--questions", str(questions)]
    words += ["--output", str(tmp_path / "out")]
    assert main([*words, "--max-minutes", "1e-9"]) == EXIT_TIME_IS_UP
    assert judges.asked == 1
    assert "judged.jsonl keeps what the judges said; go on with:" in capsys.readouterr().err
    assert main(words) == 0
    heard = judges.asked
    assert main(words) == 0
    assert judges.asked == heard
    assert capsys.readouterr().out.count("| all | 2 | 100.0% |") == 2
