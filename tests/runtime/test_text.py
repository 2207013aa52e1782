"""Text: what is refused."""

from __future__ import annotations

import pytest

from commands.errors import UserError
from runtime.text.typed_text import MAX_TEXT_BYTES, check_text, has_words


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


def test_signs_of_letters_are_words() -> None:
    assert has_words("㎏")
    assert not has_words("™ … 😀")
