"""Figures of many utterances: what is pooled, what is averaged, and how sure they are."""

from __future__ import annotations

import numpy as np
import pytest

from commands.errors import UserError
from evaluation.jury import Verdict
from evaluation.recognisers import Mistakes, count_mistakes
from evaluation.report import (
    Report,
    agreed_rate,
    difference_interval,
    error_interval,
    format_reports,
    percent,
    summarise,
)
from evaluation.speaker_matrix import check_voices, format_matrix, make_matrix
from evaluation.systems import SpokenSentence, System

TEXTS = ["They know it.", "We read twenty letters."]
HEARD = ["They know.", "we read 20 letters"]
SIMILARITIES = [{"anna": 0.9, "ben": 0.5}, {"anna": 0.6, "ben": 0.7}]


def verdict(index: int, stopped: bool = True, seconds: float = 2.0) -> Verdict:
    mistakes = {"judge": count_mistakes(TEXTS[index], HEARD[index])}
    return Verdict(
        TEXTS[index],
        seconds,
        stopped,
        {"judge": HEARD[index]},
        mistakes,
        {"ovrl": 3.0 + index, "p808": 4.0},
        SIMILARITIES[index],
    )


def report(voice: str = "anna", stopped: tuple[bool, bool] = (True, False)) -> Report:
    spoken = [SpokenSentence(text, np.zeros(32_000, np.float32), True, 30, 0.5) for text in TEXTS]
    verdicts = [verdict(index, stopped[index]) for index in range(2)]
    return summarise(System("name", iter(()), "engine", voice), spoken, verdicts)


def test_words_are_pooled_and_scores_averaged() -> None:
    pooled = report()
    assert pooled.word_error_rate == {"judge": pytest.approx(1 / 7)}
    assert 0 < pooled.character_error_rate["judge"] < 1 / 7
    assert pooled.dnsmos["ovrl"] == 3.5
    assert pooled.similarity == {"anna": pytest.approx(0.75), "ben": pytest.approx(0.6)}
    assert pooled.stopped == 0.5
    assert pooled.words_per_second == 7 / 4
    assert pooled.steps_per_second_of_audio == 60 / 4
    assert pooled.real_time_factor == pytest.approx(1.0 / 4)
    low, high = pooled.word_error_interval["judge"]
    assert (low, high) == (0.0, pytest.approx(1 / 3))  # twice the one, twice the other
    assert "| name | 14.3 % (0.0–33.3) |" in format_reports([pooled])


def test_what_all_judges_hear_wrong_is_agreed() -> None:
    first = [Mistakes(1, 3, 2, 9), Mistakes(2, 4, 5, 15)]
    second = [Mistakes(0, 3, 0, 9), Mistakes(3, 4, 6, 15)]
    assert agreed_rate([first, second]) == 2 / 7
    assert agreed_rate([first]) is None
    assert report().agreed_word_error_rate is None
    assert "WER agreed" not in format_reports([report()])


def test_intervals_shrink_with_more_utterances_and_hold_the_rate() -> None:
    mistakes = [Mistakes(int(index % 4 == 0), 5, 1, 20) for index in range(40)]
    low, high = error_interval(mistakes)
    assert low < 0.05 < high
    narrow = error_interval(mistakes * 10)
    assert narrow[1] - narrow[0] < 0.5 * (high - low)


def test_differences_are_between_the_same_sentences() -> None:
    easy = [Mistakes(index % 2, 5, 1, 20) for index in range(40)]
    one_more = [Mistakes(each.word_edits + 1, 5, 1, 20) for each in easy]
    assert difference_interval(easy, one_more) == (pytest.approx(0.2), pytest.approx(0.2))


def test_percent() -> None:
    assert percent(0.05) == "5.0 %"
    assert percent(0.05, (0.031, 0.0719)) == "5.0 % (3.1–7.2)"


def test_the_matrix_counts_the_nearest_speaker() -> None:
    matrix = make_matrix("engine", [report("anna"), report("ben")])
    assert matrix.nearest == [[0.5, 0.5], [0.5, 0.5]]
    assert matrix.similarity[1] == [pytest.approx(0.75), pytest.approx(0.6)]
    assert matrix.right_speaker_nearest == 0.5
    assert "| ben | 0.75 | 0.60 | 50.0 % |" in format_matrix(matrix)
    with pytest.raises(UserError, match="voice 'carl'; there are folders for anna, ben"):
        check_voices(["anna", "carl"], ["anna", "ben"])
