"""Reports on speech: what goes into the table, with judges of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.errors import EXIT_USER_ERROR, UserError
from train import evaluate
from train.evaluate import Utterance, Verdict
from train.recognisers import error_rates

TEXTS = ["They know it.", "We read twenty letters."]
HEARD = ["They know.", "we read 20 letters"]


def verdict(text: str, heard: str, seconds: float = 2.0, stopped: bool = True) -> Verdict:
    wrong = {"judge": error_rates([text], [heard])[0]}
    return Verdict(text, seconds, stopped, {"judge": heard}, wrong, {"ovrl": 3.0})


def utterance(text: str, steps: int | None = 30) -> Utterance:
    return Utterance(text, np.zeros(32_000, np.float32), True, steps, 0.5)


def test_error_rates_are_over_all_words_and_ignore_spelling() -> None:
    words, characters = error_rates(TEXTS, HEARD)
    assert words == pytest.approx(1 / 7)  # "it" is missing; twenty is 20
    assert 0 < characters < words


def test_a_reference_without_words_is_refused() -> None:
    with pytest.raises(UserError, match="holds no words"):
        error_rates(["…"], [""])


def test_summary_pools_utterances() -> None:
    verdicts = [
        verdict(text, heard, stopped=index == 0)
        for index, (text, heard) in enumerate(zip(TEXTS, HEARD, strict=True))
    ]
    report = evaluate.summarise("name", [utterance(text) for text in TEXTS], verdicts)
    assert report.word_error_rate == {"judge": pytest.approx(1 / 7)}
    assert report.stopped == 0.5
    assert report.steps_per_second_of_audio == 60 / 4
    assert report.real_time_factor == pytest.approx(1.0 / 4)
    assert "| name | 14.3% |" in evaluate.format_table([report])


def test_recordings_have_no_steps(tmp_path: Path) -> None:
    for index in range(2):
        soundfile.write(tmp_path / f"{index}.wav", 0.1 * np.ones(16_000, np.float32), 16_000)
    spoken = list(evaluate.read_recordings(tmp_path, TEXTS))
    report = evaluate.summarise("wavs", spoken, [verdict(text, text) for text in TEXTS])
    assert report.steps_per_second_of_audio is None
    assert report.real_time_factor is None
    with pytest.raises(UserError, match="2 recordings for 3 sentences"):
        list(evaluate.read_recordings(tmp_path, [*TEXTS, "One more."]))


def test_sentences_skip_comments(tmp_path: Path) -> None:
    file = tmp_path / "sentences.txt"
    file.write_text("# a comment\n\nOne.\nTwo.\nThree.\n", encoding="utf-8")
    assert evaluate.read_sentences(file, limit=2) == ["One.", "Two."]


@pytest.mark.parametrize(
    "arguments",
    [[], ["--engine", "nowhere"], ["--engine", ".", "--sentences", "nowhere.txt"]],
)
def test_mistakes_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(arguments) == EXIT_USER_ERROR
    assert capsys.readouterr().err.count("\n") == 1
