"""A text that grows is cut where the whole text is, as soon as that can be known."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.text.growing_text import MOST_CHARACTERS, GrowingText
from runtime.text.sentences import split_sentences

TEXTS = (
    "It rained. We left! Did you see it? Nobody did.",
    "Dr. Smith came at 5 p.m. on Monday. He met Mrs. Jones, i.e. his aunt. The U.S. Army paid $3.",
    "One… two. “Is it you?” she said. “Yes.” And then (it was late.) They went.",
    "下雨了。我们走了！你看见了吗？没有。",
    "Title\n\nThe first paragraph. It ends.\n\nThe second one… Wow!!! Yes.",
    "1. Take the bread. 2. Cut it. 3. Eat it.",
    "- One thing\n- Another thing\n- A third thing",
    "No end",
    "  Spaces   around  ",
)


def grow(text: str, cuts: list[int]) -> list[str]:
    growing = GrowingText()
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [
        sentence for start, end in pairwise(places) for sentence in growing.feed(text[start:end])
    ]
    return pieces + growing.finish()


@pytest.mark.parametrize("text", TEXTS)
def test_letter_by_letter_it_is_cut_as_the_whole(text: str) -> None:
    assert grow(text, [*range(len(text))]) == split_sentences(text)


@given(st.sampled_from(TEXTS), st.lists(st.integers(0, 10_000), max_size=12))
def test_cut_anywhere_it_is_cut_as_the_whole(text: str, cuts: list[int]) -> None:
    assert grow(text, cuts) == split_sentences(text)


@given(st.text(st.sampled_from("ab Z.!?,\n1…。"), max_size=80), st.lists(st.integers(0, 80)))
def test_no_letter_is_lost_or_said_twice(text: str, cuts: list[int]) -> None:
    said = "".join(grow(text, cuts))
    assert [c for c in said if c.isalnum()] == [c for c in text if c.isalnum()]


def test_a_sentence_comes_with_the_first_word_behind_it() -> None:
    growing = GrowingText()
    assert growing.feed("It rained.") == []
    assert growing.feed(" We") == []
    assert growing.feed(" le") == ["It rained."]
    assert growing.rest == "We le"
    assert GrowingText().feed("下雨了。我") == ["下雨了。"]
    assert GrowingText().feed("It rained.\n\n") == ["It rained."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Let me see. Hm", []),
        ("Let me see.", ["Let me see."]),
        ("So? ", ["So?"]),
        ("You met Dr.", []),
        ("It costs 3.", []),
        ("1.", []),
        ("下雨了。", ["下雨了。"]),
        ("", []),
    ],
)
def test_a_pause_after_a_stop_is_an_end(text: str, said: list[str]) -> None:
    growing = GrowingText()
    growing.feed(text)
    assert growing.pause() == said


def test_other_granularities() -> None:
    whole = GrowingText("none")
    assert whole.feed("One. Two. Three ") == whole.pause() == []
    assert whole.finish() == ["One. Two. Three "]
    clauses = GrowingText("clause")
    said = clauses.feed("When it rained, we left the house, no? Yes, we did ")
    assert said == ["When it rained,", "we left the house, no?"]
    assert clauses.finish() == ["Yes, we did"]


def test_text_without_words_is_left_out() -> None:
    assert grow("… !!! 😀 …", [3]) == []
    growing = GrowingText()
    assert growing.feed("😀\n\n") == growing.finish() == []


def test_a_text_without_an_end_is_cut_at_a_space() -> None:
    growing = GrowingText()
    said = growing.feed("word " * 1_000)
    assert said
    assert len(growing.rest) <= MOST_CHARACTERS
    assert len(" ".join(said + growing.finish()).split()) == 1_000


@pytest.mark.parametrize("text", ["a ", "\n", " ", ".", "。", "! ", ") ", "1. ", "• "])
def test_the_cost_of_a_piece_is_bounded(text: str) -> None:
    """Not a measurement: what grows with the square of a text takes minutes here."""
    growing = GrowingText()
    start = time.process_time()
    growing.feed(text * (100_000 // len(text)))
    growing.feed("x ")
    growing.pause()
    growing.finish()
    for _ in range(3_000):
        growing.feed(text)
    assert time.process_time() - start < 30
