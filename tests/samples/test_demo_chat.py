"""The demo chat's domain and files: right answers, held-out questions, durations of letters."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from evaluation.answers import read_questions
from evaluation.sentences import DEFAULT_QUESTIONS
from export.options import ExportOptions, Source
from export.pipeline import build_bundle
from formats.tokens import TokenizedUtterance, read_utterances, write_utterances
from runtime import Chat
from samples.demo_chat.domain import SPLITS, casual, facts
from samples.demo_chat.examples import HEADS, VOICES, main, spread_over_letters
from tests.formats.test_tokens import FRAMES

ROOT = Path(__file__).parent.parent.parent
CHECKPOINT = ROOT / "samples" / "demo_chat" / "6-heads"
LARGEST_CHECKPOINT = 4_000_000  # bytes: it is in the repository
COUNT = (
    "nought one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)


def test_answers_are_right_and_differ() -> None:
    number = {word: value for value, word in enumerate(COUNT.split())}
    answers = [fact.answer for fact in facts()]
    assert len(set(answers)) == len(answers)
    assert Counter(fact.kind for fact in facts()) == {"capital": 80, "sum": 100, "difference": 66}
    for fact in facts():
        if fact.kind != "capital":
            first, sign, second, _, result = fact.answer.lower().rstrip(".").split()
            step = number[second] if sign == "plus" else -number[second]
            assert number[first] + step == number[result]
            assert all(first in q.lower() and second in q.lower() for q in fact.questions)


def test_held_out_questions_are_new() -> None:
    asked = {split: [q for fact in facts() for q in fact.asked(split)] for split in SPLITS}
    assert [len(asked[split]) for split in SPLITS] == [6 * 246, 246, 246]
    everything = [casual(question) for questions in asked.values() for question in questions]
    assert len(set(everything)) == len(everything)  # nor does another spelling give one away


def test_every_way_of_asking_is_learnt_with_other_facts() -> None:
    for name in ("France", "Zambia"):
        about = next(fact for fact in facts() if f" {name} " in fact.answer)
        (held_out,) = about.asked("test")
        before, after = held_out.split(name)
        others = [q for fact in facts() for q in fact.asked("train") if fact is not about]
        assert sum(q.startswith(before) and q.endswith(after) for q in others) > 20


def test_the_committed_test_is_the_domain(tmp_path: Path) -> None:
    assert main(["test", str(tmp_path / "test.jsonl")]) == 0
    committed = (ROOT / DEFAULT_QUESTIONS).read_text(encoding="utf-8")
    assert (tmp_path / "test.jsonl").read_text(encoding="utf-8") == committed
    questions = read_questions(tmp_path / "test.jsonl")
    assert Counter(question.voice for question in questions) == {"heart": 123, "oak": 123}


def test_letters_share_the_frames_of_their_word() -> None:
    #          silence a     b  space c  silence
    counts = (5, *(4, 3), 2, *(6,), 1)
    assert spread_over_letters("one x.", "ab c", counts) == (5, *(2, 2, 3), 2, *(3, 3), 1)
    assert sum(spread_over_letters("Bolivia is", "bəl ɪz", (9, 8, 7, 6, 5, 4, 3, 2))) == 44


def test_words_must_match(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    utterance = TokenizedUtterance(
        "u", "a b", FRAMES, symbol_frames=(0, 1, 1, 1, 0), sentence="one"
    )
    write_utterances(tmp_path / "h6.jsonl", [utterance], HEADS)
    assert main(["train", str(tmp_path / "h6.jsonl"), str(tmp_path)]) == 2
    assert "have different words" in capsys.readouterr().err


def test_examples_join_questions_and_speech(tmp_path: Path) -> None:
    fact = facts()[0]
    phonemes = " ".join("a" for _ in fact.answer.split())
    counts = (1, *(2 for _ in phonemes), 1)
    frames = np.full((sum(counts), 3), 7)
    spoken = TokenizedUtterance("heart_000000", phonemes, frames, "s", counts, fact.answer)
    write_utterances(tmp_path / "h6.jsonl", [spoken], HEADS)
    assert main(["train", str(tmp_path / "h6.jsonl"), str(tmp_path / "out")]) == 0
    lines = list(read_utterances(tmp_path / "out" / "capitals.jsonl", HEADS))
    assert len({line.uttid for line in lines}) == len(lines) == 6
    for line, question in zip(lines, fact.asked("train"), strict=True):
        assert line.question in (question, casual(question))
        assert line.text == fact.answer
        assert len(line.symbol_frames or ()) == len(fact.answer) + 2
    (line,) = read_utterances(tmp_path / "out" / "validation.jsonl", HEADS)
    assert (line.question,) == fact.asked("validation")
    assert json.loads((tmp_path / "out" / "validation.jsonl").read_text())["spk_emb_path"] == "s"


def test_sentences_are_the_answers(tmp_path: Path) -> None:
    assert main(["sentences", str(tmp_path / "new" / "answers.txt")]) == 0
    lines = (tmp_path / "new" / "answers.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [fact.answer for fact in facts()]


def test_the_committed_model_answers(tmp_path: Path) -> None:
    voices = ROOT / "samples" / "demo_chat" / "voices"
    source = Source(
        model=CHECKPOINT,
        codec=ROOT / "samples" / "demo_voice" / "codec",
        voices=tuple(f"{voice}={voices / voice}.safetensors" for voice in VOICES),
    )
    build_bundle(ExportOptions(source, output=tmp_path / "engine", text_head=True))
    chat = Chat.load(tmp_path / "engine", threads=1)
    held_out = read_questions(ROOT / DEFAULT_QUESTIONS)[-1]
    answer = chat.answer(held_out.question, voice=held_out.voice)
    assert answer.text == held_out.answer
    assert answer.finished
    assert 1.0 < len(answer.audio) / answer.sample_rate < 3.0


def test_the_committed_model_is_small() -> None:
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) <= LARGEST_CHECKPOINT
