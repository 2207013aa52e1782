"""Text: what is refused, where sentences end, and that nothing is lost on the way."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import UserError
from runtime.text import (
    MAX_TEXT_BYTES,
    check_text,
    make_frontend,
    split_sentences,
    split_to_fit,
)

PROSE = st.text(alphabet="ab A1.,!?;:\n\"'“”()-—…。， ", max_size=80)
WORDS = st.text(alphabet="abcdefgh ", min_size=1, max_size=60).filter(str.strip)


def solid(text: str) -> str:
    """Text without white space."""
    return "".join(text.split())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        (" \n\t ", "is empty"),
        ("?!", "no letter or digit"),
        ("a\x00b", r"U\+0000\) at position 1"),
        ("bell\x07", r"U\+0007"),
        ("\ud800", r"U\+D800"),
        ("\x85", r"U\+0085"),
        ("a" * (MAX_TEXT_BYTES + 1), "100001 bytes"),
        ("é" * MAX_TEXT_BYTES, "200000 bytes"),
    ],
)
def test_text_that_cannot_be_spoken_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        check_text(text)


@pytest.mark.parametrize("text", ["They know it.", "a\tb\nc", "你好", "7", "a" * MAX_TEXT_BYTES])
def test_other_text_is_accepted(text: str) -> None:
    check_text(text)


@pytest.mark.parametrize(
    "sentence",
    [
        "They know it.",
        "  spaces stay \n",
        "no end mark",
        "Dr. Smith met J. K. Rowling in the U.S. Army on St. Mary Street.",
        "It cost 3.14 dollars, i.e. 3 1/2 francs.",
        "“Stop!” he said, and “why?” she asked.",
        "No. 5 is alive, says Fig. 3.",
        "1. One thing.",
        "Wait... and see.",
        "Hmm …",
        "A line\nbroken in two.",
        "Really?!",
        "{text} and {0}.",
    ],
)
def test_one_sentence_is_unchanged(sentence: str) -> None:
    assert split_sentences(sentence) == [sentence]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?  Four", ["One.", "Two!", "Three?", "Four"]),
        ("He said no. She left.", ["He said no.", "She left."]),
        ("“Stop!” She ran. (Really.) Yes.", ["“Stop!”", "She ran.", "(Really.)", "Yes."]),
        ("Title\n\nA line\nbroken. End.", ["Title", "A line broken.", "End."]),
        ("It rose 3.5 %. Then 2 fell.", ["It rose 3.5 %.", "Then 2 fell."]),
        ("At 5 p.m. It left.", ["At 5 p.m.", "It left."]),
        ("Yes. … No.", ["Yes. …", "No."]),
        ("你好。我很好！是吗？", ["你好。", "我很好！", "是吗？"]),
    ],
)
def test_sentence_ends(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(PROSE)
def test_splitting_loses_nothing(text: str) -> None:
    sentences = split_sentences(text)
    assert solid("".join(sentences)) == solid(text)
    if len(sentences) == 1:
        assert sentences == [text]
    else:
        assert all(any(map(str.isalnum, sentence)) for sentence in sentences)
        assert [" ".join(sentence.split()) for sentence in sentences] == sentences


@given(WORDS, st.integers(1, 70))
def test_pieces_fit_and_lose_nothing(sentence: str, room: int) -> None:
    pieces = split_to_fit(sentence, lambda piece: len(piece) <= room)
    assert solid("".join(pieces)) == solid(sentence)
    assert all(len(piece) <= room for piece in pieces)
    if len(sentence) <= room:
        assert pieces == [sentence]


def test_long_sentences_are_cut_at_clauses_then_at_words() -> None:
    sentence = "When the rain had gone, the old birds sang in the garden"
    assert split_to_fit(sentence, lambda piece: len(piece) <= 40) == [
        "When the rain had gone,",
        "the old birds sang in the garden",
    ]
    assert split_to_fit("one two three four", lambda piece: len(piece) <= 9) == [
        "one two",
        "three",
        "four",
    ]


def test_what_never_fits_is_refused() -> None:
    with pytest.raises(UserError, match="no room"):
        split_to_fit("ab", lambda piece: False)


def test_no_frontend_passes_text_on() -> None:
    assert make_frontend({"kind": "none"})("Ä {text}\n") == "Ä {text}\n"


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({}, "unknown text frontend None"),
        ({"kind": "espeak"}, "unknown text frontend 'espeak'"),
        ({"kind": "hibari", "language": "de"}, "unknown language 'de'; hibari has: en-us, en-gb"),
    ],
)
def test_unknown_frontends_are_refused(spec: dict[str, str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        make_frontend(spec)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(UserError, match="pip install hibari-tts"):
        make_frontend({"kind": "hibari"})


def test_hibari_writes_phonemes() -> None:
    pytest.importorskip("hibari")
    read = make_frontend({"kind": "hibari", "language": "en-us"})
    assert read("Hello there.") == "həlˈO ðˈɛɹ."
    assert make_frontend({"kind": "hibari", "language": "en-gb"})("Hello there.") == "həlˈQ ðˈɛː."
    assert read("你好") == ""
    assert read("1" * 2_000) == " ".join(["wˈʌn"] * 2_000)
