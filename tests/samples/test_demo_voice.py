"""The demo voice's own steps: sentences out of WordNet, and which shards are still to be read."""

from __future__ import annotations

import multiprocessing
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.sentences import read_sentences
from evaluation.systems import match_recordings
from samples.demo_voice import synthesize as synthesizing
from samples.demo_voice.repetitions import add_repetitions, repeat_words
from samples.demo_voice.sentences import (
    JOINED_WORDS,
    PARTS_OF_SPEECH,
    REPEATING_WORDS,
    join_sentences,
    main,
    read_examples,
    select_sentences,
    statements_of,
)
from samples.demo_voice.short_texts import main as write_short_text_file
from samples.demo_voice.short_texts import write_short_texts
from samples.demo_voice.spoken_forms import write_spoken_forms
from samples.demo_voice.synthesize import (
    SENTENCES_PER_SHARD,
    plan_shards,
    synthesize_shard,
    wait_for,
)
from samples.demo_voice.synthesize import main as synthesize
from samples.demo_voice.teachers import (
    FRAME_SAMPLES,
    KEPT_SILENCE_SAMPLES,
    Teacher,
    Timbre,
    change_timbre,
    move_earlier,
    trim_silence,
)

EVALUATION_LISTS = Path(__file__).parents[2] / "samples" / "evaluation"

ENTRIES = """\
  1 This is the licence | "it is not an example of anything at all"
00001740 29 v 01 breathe 0 | draw air; "I can breathe better when the air is clean"; "breathe in"
00002325 29 v 01 respire 0 | "the patient is respiring;" "costs 5 dollars a day there"
00002573 29 v 01 wonder 0 | "can you hear the rain?"
"""


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    for part in PARTS_OF_SPEECH:
        (tmp_path / f"data.{part}").write_text(ENTRIES, encoding="utf-8")
    return tmp_path


def test_examples_become_distinct_sentences(wordnet: Path) -> None:
    chosen = select_sentences(read_examples(wordnet), 4, 10)
    assert sorted(chosen) == [
        "Can you hear the rain?",
        "I can breathe better when the air is clean.",
        "The patient is respiring.",
    ]
    assert chosen == select_sentences(read_examples(wordnet), 4, 10)


def test_the_command_writes_the_first_ones_of_each_kind(wordnet: Path, tmp_path: Path) -> None:
    output = tmp_path / "sentences.txt"
    assert main([str(wordnet), str(output), "--limit", "2"]) == 0
    short = select_sentences(read_examples(wordnet), 4, 10)
    assert output.read_text().splitlines() == [*short[:2], *write_spoken_forms(2)]


def test_statements_are_joined_into_long_sentences() -> None:
    short = statements_of(["I'm glad the dog sleeps.", "Is it late?", "The cat is awake now."] * 40)
    joined = join_sentences(short, 3)
    least, most = JOINED_WORDS
    assert len(joined) == 3
    for text in joined:
        assert least <= len(text.split()) <= most + 8
        assert text.count(".") == 1
        assert text.endswith(".")
        assert "?" not in text
        assert "the cat" in text[1:]
    assert any(", and I'm glad" in text for text in join_sentences(short, 9))
    assert join_sentences(short[:4], 3) == []  # too few words for one


def test_repeating_sentences_say_the_same_words_twice() -> None:
    statements = [f"The cat of number {index} sleeps" for index in range(900)]
    sentences = join_sentences(add_repetitions(statements), 60, REPEATING_WORDS)
    assert len(sentences) == 60
    assert sentences == join_sentences(add_repetitions(statements), 70, REPEATING_WORDS)[:60]
    for text in sentences:
        assert re.fullmatch(r"[A-Z][A-Za-z0-9 ,]*[A-Za-z0-9]\.", text), text
        assert len(text.split()) >= REPEATING_WORDS[0]
        assert len(set(text.split())) < len(text.split())
    text = " ".join(sentences)
    assert re.search(r"\b(\w+ \w+)(,| and|, and)? \1\b", text)
    assert "again" in text
    assert re.search(r"(\w+) \w+, \1 \w+, and \1 \w+", text)
    assert join_sentences(add_repetitions(statements[:1]), 3) == []  # too few words for one
    assert all(list(add_repetitions(["Yes"] * 50)))  # nothing there to say twice


@pytest.mark.parametrize("seed", range(40))
def test_repeated_words_follow_one_another(seed: int) -> None:
    words = ["one", "two", "three", "four", "five"]
    said = re.findall(r"\w+", repeat_words(" ".join(words), random.Random(seed)))
    said = [word for word in said if word != "and"]
    twice = [word for word in words if said.count(word) == 2]
    assert 1 <= len(twice) <= 3
    first = words.index(twice[0])
    assert first > 0
    assert said == [*words[: first + len(twice)], *words[first:]]


def test_spoken_forms_come_last(wordnet: Path, tmp_path: Path) -> None:
    output = tmp_path / "sentences.txt"
    assert main([str(wordnet), str(output), "--spoken-forms", "4"]) == 0
    written = output.read_text().splitlines()
    assert written[:-4] == select_sentences(read_examples(wordnet), 4, 10)
    assert written[-4:] == write_spoken_forms(4)
    assert main([str(wordnet), str(output), "--spoken-forms", "0"]) == 0
    assert output.read_text().splitlines() == written[:-4]


def test_spoken_forms_are_distinct_whole_sentences() -> None:
    sentences = write_spoken_forms(2000)
    assert len(set(sentences)) == 2000
    assert sentences[:300] == write_spoken_forms(300)
    for sentence in sentences:
        assert re.fullmatch(r"[A-Z][A-Za-z0-9 .,:$%'?]*[a-z0-9A-Z%][.?]", sentence), sentence
        assert ".." not in sentence
        assert "?" not in sentence[:-1]


def test_spoken_forms_say_what_examples_lack() -> None:
    text = " ".join(write_spoken_forms(2000))
    for written in (" a.m. ", " p.m.", ", etc.", "Dr. ", "%", "$4", "BBC", ":05 ", ",", " 17", "?"):
        assert written in text, written
    ordinals = dict(re.findall(r"\b(\d+)(st|nd|rd|th)\b", text))
    endings = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
    assert ordinals == {str(day): endings.get(day, "th") for day in range(1, 32)}


def make_examples(count: int = 400) -> list[str]:
    """Clauses of four to eight words from a hundred, and phrases of two or three of them."""
    choice = random.Random(3)
    words = ["".join(choice.choices("abdeilmnorst", k=5)) for _ in range(100)]
    return [" ".join(choice.choices(words, k=2 + index % 7)) for index in range(count)]


def test_short_texts_are_of_all_kinds() -> None:
    texts = write_short_texts(make_examples(), 1500)
    assert len(set(texts)) == len(texts) == 1500
    assert texts == write_short_texts(make_examples(), 1500)
    assert all(text[-1] in ".!?" and not text[0].islower() for text in texts)
    words = [len(text.split()) for text in texts]
    assert sum(count == 1 for count in words) > 0.1 * len(texts)
    assert sum(count <= 3 for count in words) > 0.4 * len(texts)
    text = "\n".join(texts)
    for kind in (
        "Hello",
        "how are you",
        "No",
        "three, four, five",
        " dot ",
        "point",
        ", and ",
        "!",
    ):
        assert kind in text, kind


def test_no_short_text_is_one_that_is_judged(wordnet: Path, tmp_path: Path) -> None:
    for part in PARTS_OF_SPEECH:
        quoted = " ".join(f'"{example}"' for example in make_examples())
        (wordnet / f"data.{part}").write_text(f"00001740 29 v | {quoted}\n", encoding="utf-8")
    output = tmp_path / "texts.txt"
    assert write_short_text_file([str(wordnet), str(output), "--count", "2000"]) == 0
    texts = output.read_text(encoding="utf-8").splitlines()
    judged = {sentence.text for sentence in read_sentences(EVALUATION_LISTS / "first.txt")}
    assert len(texts) == 2000
    assert not judged & set(texts)
    assert {"Hi.", "Hello.", "No!"} <= judged  # which are among what it draws from


def test_no_evaluation_sentence_is_learned() -> None:
    lists = [path for path in EVALUATION_LISTS.glob("*.txt") if path.stem != "first"]
    judged = {sentence.text for path in lists for sentence in read_sentences(path)}
    assert len(judged) > 100
    learned = "\n".join(write_spoken_forms(5000)).lower()
    assert not [text for text in judged if text.lower().rstrip(".?") in learned]


def test_a_missing_wordnet_says_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nowhere"), str(tmp_path / "out.txt")]) == 2
    assert "apt-get download wordnet-base" in capsys.readouterr().err
    assert not (tmp_path / "out.txt").exists()


def test_only_missing_shards_are_planned(tmp_path: Path) -> None:
    sentences = [f"Sentence {index}." for index in range(2 * SENTENCES_PER_SHARD + 3)]
    (tmp_path / "shard_0001").mkdir()
    (tmp_path / "shard_0002.partial").mkdir()
    jobs = plan_shards(sentences, tmp_path)
    assert [(folder.name, first, len(part)) for folder, first, part in jobs] == [
        ("shard_0000", 0, SENTENCES_PER_SHARD),
        ("shard_0002", 2 * SENTENCES_PER_SHARD, 3),
    ]
    assert [first for _, first, _ in plan_shards(sentences, tmp_path, skipped=100)] == [
        100,
        100 + 2 * SENTENCES_PER_SHARD,
    ]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 20))
def test_symbols_move_earlier(counts: list[int], frames: int) -> None:
    """Each frame has the symbol that was so many later; the last symbol fills up the end."""
    moved = move_earlier(np.array(counts), frames)
    assert len(moved) == len(counts)
    assert min(moved) >= 0
    symbols, earlier = (np.repeat(np.arange(len(counts)), n) for n in (counts, moved))
    assert len(earlier) == len(symbols)
    kept = max(len(symbols) - frames, 0)
    np.testing.assert_array_equal(earlier[:kept], symbols[len(symbols) - kept :])
    assert (earlier[kept:] == len(counts) - 1).all()


def test_another_timbre_moves_formants_and_pitch() -> None:
    spectrum = np.arange(601, dtype=np.float32)[:, None].repeat(3, axis=1)
    changed, pitch = change_timbre([spectrum, np.full(3, 200.0)], Timbre(pitch=0.5, formants=0.8))
    assert changed[80].tolist() == [100.0] * 3  # what was at bin 100 is at bin 80
    assert changed.max() == 600
    assert pitch.tolist() == [100.0] * 3


def test_silence_is_trimmed_to_whole_frames() -> None:
    audio = np.zeros(50_000, np.float32)
    audio[20_000:30_000] = 0.5
    trimmed = trim_silence(audio)
    assert len(trimmed) % FRAME_SAMPLES == 0
    assert 0 <= 10_000 + 2 * KEPT_SILENCE_SAMPLES - len(trimmed) < FRAME_SAMPLES
    assert np.flatnonzero(trimmed)[[0, -1]].tolist() == [
        KEPT_SILENCE_SAMPLES,
        KEPT_SILENCE_SAMPLES + 9_999,
    ]


def test_the_teacher_reads_a_list_for_evaluation(tmp_path: Path) -> None:
    texts = ["Call me at 7:30 a.m.", "Is it late?"]
    sentences = tmp_path / "list.txt"
    sentences.write_text("\n".join(["# a comment", texts[0], "", texts[1]]), encoding="utf-8")
    assert synthesize([str(sentences), str(tmp_path / "teacher"), "--workers", "1"]) == 0
    files = match_recordings(tmp_path / "teacher", texts)
    assert [file.name for file in files] == ["000000.flac", "000001.flac"]


def test_a_missing_synthesizer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("Hello there.\n")
    assert synthesize([str(sentences), str(tmp_path / "corpus"), "--speaker", "slt"]) == 2
    assert "apt install flite" in capsys.readouterr().err
    assert not (tmp_path / "corpus").exists()


class QuickTeacher(Teacher):
    """Reads nothing but its own sentence count."""

    def __init__(self) -> None:
        self.speaker = "heart"

    def phonemize(self, sentence: str) -> str | None:
        return None if "split" in sentence else "aː"

    def read(self, sentence: str, phonemes: str, seed: int) -> tuple[np.ndarray, list[int] | None]:
        if "fail" in sentence:
            raise RuntimeError
        return np.zeros(FRAME_SAMPLES * 3, np.int16), [1, 1, 1, 0]


def test_a_shard_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesizing, "_teacher", QuickTeacher())
    shard = tmp_path / "corpus" / "shard_0000"
    with pytest.raises(RuntimeError):
        synthesize_shard((shard, 0, ["One.", "This will fail."]))
    assert list(shard.parent.iterdir()) == []
    assert synthesize_shard((shard, 7, ["One.", "This would be split.", "Three."])) == 2
    assert [path.name for path in shard.parent.iterdir()] == ["shard_0000"]
    assert {path.name for path in shard.iterdir()} == {
        "metadata.jsonl",
        "000007.flac",
        "000009.flac",
    }


def test_waiting_for_a_shard_looks_for_an_interruption() -> None:
    answers: Iterator[int | None] = iter([None, None, 5])  # None: there is no result yet
    checked: list[None] = []

    class Results:
        def next(self, timeout: float) -> int:
            answer = next(answers)
            if answer is None:
                raise multiprocessing.TimeoutError
            return answer

    assert wait_for(Results(), lambda: checked.append(None)) == 5
    assert len(checked) == 3
