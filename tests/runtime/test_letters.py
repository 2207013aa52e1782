"""Letters: what a reader of Latin script takes out, and what it writes plainly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.text.letters import simplify_letters, take_foreign_words


@pytest.mark.parametrize(
    ("text", "kept", "taken"),
    [
        ("Hello world", "Hello world", ()),
        ("Hello 世界", "Hello  ", ("世界",)),
        ("X世Y", "X Y", ("世",)),
        ("日本語abc", " abc", ("日本語",)),
        ("Привет, мир!", " ,  !", ("Привет", "мир")),
        ("नमस्ते Tom", "  Tom", ("नमस्ते",)),
        ("ﾃｽﾄ", " ", ("ﾃｽﾄ",)),
        ("π is 3.14, αβγ is not", "π is 3.14,   is not", ("αβγ",)),
        ("café Łódź ʻokina ﬁne Ａ ª", "café Łódź ʻokina ﬁne Ａ ª", ()),
        ("½ ² ٣ № 🙏 — “”", "½ ² ٣ № 🙏 — “”", ()),
    ],
)
def test_words_of_other_scripts(text: str, kept: str, taken: tuple[str, ...]) -> None:
    assert take_foreign_words(text) == (kept, taken)


@given(st.text(max_size=30))
def test_nothing_else_is_taken(text: str) -> None:
    kept, taken = take_foreign_words(text)
    assert sum(map(len, taken)) - len(taken) == len(text) - len(kept)
    assert take_foreign_words(kept) == (kept, ())


def test_letters_that_are_not_known() -> None:
    assert simplify_letters("Nguyễn Ａｂ é", frozenset("éN")) == "Nguyen Ab é"
    assert simplify_letters("cafe\u0301 ½ ²", frozenset("é")) == "café ½ ²"
    assert simplify_letters("ᴀ", frozenset()) == "ᴀ"
