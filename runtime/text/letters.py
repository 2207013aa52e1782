"""Keeps the letters of Latin script, and takes out words in other scripts.

In: text. Out: text with known letters only, and the words that were taken out of it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Set

_READABLE = ("LATIN", "MODIFIER")  # "ʻ" is a modifier letter


def take_foreign_words(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without runs of letters of other scripts, and those runs.

    Runs may be parts of words: "X世Y" has one. A Greek letter by itself is a name, like "π".
    """
    if text.isascii():
        return text, ()
    kept: list[str] = []
    taken: list[str] = []
    start = 0
    while start < len(text):
        end = _end_of_foreign(text, start)
        word = text[start:end]
        if word and not (len(word) == 1 and _script(word) == "GREEK"):
            taken.append(word)
            kept.append(" ")
        else:
            kept.append(word or text[start])
        start = max(end, start + 1)
    return "".join(kept), tuple(taken)


def simplify_letters(text: str, known: Set[str]) -> str:
    """The text with letters that are not `known` written plainly: "ễ" as "e", "Ａ" as "A"."""
    if text.isascii():
        return text
    return "".join(
        _simplify(character) if character.isalpha() and character not in known else character
        for character in unicodedata.normalize("NFC", text)
    )


def _simplify(letter: str) -> str:
    """Its base letters, without marks; itself if it has none."""
    parts = unicodedata.normalize("NFKD", letter)
    return "".join(part for part in parts if not unicodedata.combining(part)) or letter


def _end_of_foreign(text: str, start: int) -> int:
    """Where the foreign letters that begin at `start` end; `start` if there are none."""
    end = start
    while end < len(text) and (_is_foreign(text[end]) or (end > start and _joins(text[end]))):
        end += 1
    return end


def _is_foreign(character: str) -> bool:
    return character.isalpha() and _script(character) not in _READABLE


def _joins(character: str) -> bool:
    """Vowel signs, accents and joiners, which stand within the words of many scripts."""
    return unicodedata.category(character) in ("Mn", "Mc", "Cf")


def _script(letter: str) -> str:
    """The first word of its name; of a letter in another form, such as "ﬁ", of its plain form."""
    return unicodedata.name(unicodedata.normalize("NFKC", letter)[0], "UNKNOWN").split()[0]
