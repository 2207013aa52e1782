"""Where the speech of an evaluation comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from commands.errors import UserError
from evaluation.sentences import Sentence, read_sentences
from evaluation.systems import (
    choose_voices,
    match_recordings,
    open_recordings,
)

LISTS = Path(__file__).parents[2] / "samples" / "evaluation"
TEXTS = ["They know it.", "We read twenty letters."]


def record(folder: Path, names: list[str], texts: list[str] | None = None) -> None:
    for index, name in enumerate(names):
        soundfile.write(folder / f"{name}.wav", 0.1 * np.ones(16_000, np.float32), 16_000)
        if texts is not None:
            (folder / f"{name}.txt").write_text(texts[index], encoding="utf-8")


def test_sentences_skip_comments(tmp_path: Path) -> None:
    file = tmp_path / "sentences.txt"
    file.write_text("# a comment\n\nOne.\nTwo.\nThree.\n", encoding="utf-8")
    assert read_sentences(file, limit=2) == [Sentence("One.", "One."), Sentence("Two.", "Two.")]


def test_a_list_says_how_its_texts_are_read(tmp_path: Path) -> None:
    file = tmp_path / "sentences.txt"
    file.write_text("It is $5.\tIt is five dollars.\nA:\\n- B\tA. B.\nYes.\n", encoding="utf-8")
    assert read_sentences(file) == [
        Sentence("It is $5.", "It is five dollars."),
        Sentence("A:\n- B", "A. B."),
        Sentence("Yes.", "Yes."),
    ]


@pytest.mark.parametrize(
    ("name", "count"), [("everyday", 50), ("harvard", 30), ("hard", 25), ("first", 120)]
)
def test_the_lists_are_what_their_page_says(name: str, count: int) -> None:
    sentences = [sentence.text for sentence in read_sentences(LISTS / f"{name}.txt")]
    assert len(sentences) == len(set(sentences)) == count
    if name == "hard":
        assert sum(len(text.split()) >= 30 for text in sentences) == 4
        assert sum(text.endswith("?") for text in sentences) == 6
        assert sum(any(map(str.isdigit, text)) for text in sentences) >= 12


def test_recordings_are_found_by_their_texts(tmp_path: Path) -> None:
    record(tmp_path, ["a", "b", "c"], ["Nothing else.", *reversed(TEXTS)])
    assert [path.stem for path in match_recordings(tmp_path, TEXTS)] == ["c", "b"]
    with pytest.raises(UserError, match=r"no recording of 1 .* 'One more\.'"):
        match_recordings(tmp_path, [*TEXTS, "One more."])


def test_recordings_without_texts_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    record(tmp_path, ["2", "1", "3"])
    assert [path.stem for path in match_recordings(tmp_path, TEXTS)] == ["1", "2"]
    with pytest.raises(UserError, match="3 recordings for 4 sentences"):
        match_recordings(tmp_path, [*TEXTS, *TEXTS])


def test_silence_around_recordings_is_cut_on_request(tmp_path: Path) -> None:
    speech = 0.1 * np.ones(16_000, np.float32)
    silence = np.zeros(8_000, np.float32)
    soundfile.write(tmp_path / "1.wav", np.concatenate([silence, speech, silence]), 16_000)
    soundfile.write(tmp_path / "2.wav", speech[:3_333], 16_000)

    def lengths(trim: bool) -> list[int]:
        system = open_recordings(
            "teacher", tmp_path, [Sentence(text, text) for text in TEXTS], trim
        )
        return [len(utterance.audio) for utterance in system.spoken]

    assert lengths(trim=False) == [32_000, 3_333]
    assert lengths(trim=True) == [16_000 + 4 * 200 + 6 * 200, 3_200]  # a little of it stays


def test_voices_are_names_files_or_all(tmp_path: Path) -> None:
    file = tmp_path / "carl.wav"
    file.touch()
    assert choose_voices(tmp_path, ["anna", "ben"], []) == [None]
    assert choose_voices(tmp_path, ["anna", "ben"], ["ben", "all"]) == ["ben", "anna"]
    assert choose_voices(tmp_path, ["anna"], [str(file)]) == [str(file)]
