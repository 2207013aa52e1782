"""Words in capitals: shouted, spelt or said.

In: text without digits. Out: the same, where "THIS" is "this" and "FBI" stays for the phonemizer to
spell. A run of capitals is a word where the words beside it are shouted too; alone it is a word if
the dictionary has it, unless the dictionary knows its capitals as an initialism or acronym.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

from runtime.text.spoken_english.number_words import NUMBER_WORDS

_LETTERS = re.compile(r"[^\W\d_]+")
_DOTTED = frozenset("äëïöüÄËÏÖÜ")
_UMLAUTS = frozenset("äöüÄÖÜ")
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
# What is stressed alone in a sentence ("I said NO"), though dictionaries know it as initialism.
_STRESSED_WRITTEN = (
    "AH AN AND AS AT BE BY DO GO HE HER HI HIM HIS HMM I IF IN IS ME MUST MY NO NOT NOW OF "
    "OFF OH ON OR OUR OUT OWN SHE SO THAT THE THEM THEN THEY THIS TO TOO UP WE WHAT WHEN WHY "
    "YES YOU"
)
_STRESSED = frozenset(_STRESSED_WRITTEN.split())
_AMBIGUOUS = frozenset(["US", "IT", "WHO"])
_DETERMINERS_WRITTEN = "the a an our your their every"
_DETERMINERS = frozenset(_DETERMINERS_WRITTEN.split())
_VOWEL = re.compile("[AEIOUYÀ-ÖØ-Ý]")
_UNSAYABLE = re.compile("[^AEIOUYÀ-ÖØ-Ý]{4}")
_ENDINGS = (("s", ""), ("es", ""), ("ies", "y"), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"))
_LETTERED_WRITTEN = (
    "Figure Vitamin Hepatitis Plan Type Group Section Part Grade Exhibit Appendix Option Team "
    "Class Table Schedule Point Side Number Letter Article Chapter Item Level Gate Block Wing"
)
# The letter A, where hibari would read an article: in a run of capitals, in "Figure A shows",
# and in "from A to B", where an article would be small.
_LETTER_A = re.compile(
    r"(?<![\w'.-])A(?= [B-HJ-Z](?: [A-Z]\b|[,.;:!?)]|$))|(?<=\b[B-HJ-Z] )A(?= )"
    r"|(?<=[a-z] )A(?= [a-z])"
)
_LETTERED_A = re.compile(rf"\b({'|'.join(_LETTERED_WRITTEN.split())}) A(?= )")
_MIN_SAYABLE = 5  # shorter runs that no dictionary has are spelt: HTML, ESPN, UCLA


def read_capitals(text: str, words: Container[str]) -> str:
    """Lower case for capitals that are words; initialisms stay capitals."""
    tokens = list(_TOKEN.finditer(text))
    if [token[0].lower() for token in tokens] == ["a"]:  # alone it is no article, but the letter,
        return "A."  # which hibari reads with a full stop only
    pieces, end = [], 0
    for index, token in enumerate(tokens):
        word = token[0]
        if len(word) > 1 and word.isupper():
            before = tokens[index - 1][0] if index else ""
            is_shouted = any(
                _shows_shouting(tokens[near][0], words) for near in _neighbours(index, tokens)
            )
            word = _read_word(word, before, words, is_shouted=is_shouted)
        if word != token[0] and _starts_sentence(text, token.start()):
            word = word[0].upper() + word[1:]
        pieces += [text[end : token.start()], word]
        end = token.end()
    return "".join([*pieces, text[end:]])


def mark_letter_a(text: str) -> str:
    """A hyphen after each A that is a letter: hibari reads "A-" so, and an article without it."""
    return _LETTERED_A.sub(r"\1 A-", _LETTER_A.sub("A-", text))


def drop_diaereses(text: str, words: Container[str]) -> str:
    """ "Zoë", "naïve" without the dots; "Müller" only where the dictionary has the word so."""
    if _DOTTED.isdisjoint(text):
        return text
    return _LETTERS.sub(lambda found: _without_dots(found[0], words), text)


def _without_dots(word: str, words: Container[str]) -> str:
    if _DOTTED.isdisjoint(word):
        return word
    plain = unicodedata.normalize("NFD", word).replace("\u0308", "")
    is_known = _UMLAUTS.isdisjoint(word) or any(
        form in words for form in (plain, plain.lower(), plain.capitalize())
    )
    return unicodedata.normalize("NFC", plain) if is_known and word not in words else word


def _starts_sentence(text: str, start: int) -> bool:
    before = text[max(0, start - 3) : start].rstrip("\"“(' ")
    return not before or before[-1] in ".!?\n"


def _neighbours(index: int, tokens: list[re.Match[str]]) -> list[int]:
    """The nearest tokens on both sides that are more than one letter."""
    near = []
    for step in (-1, 1):
        position = index + step
        if 0 <= position < len(tokens) and len(tokens[position][0]) == 1:
            position += step
        if 0 <= position < len(tokens):
            near.append(position)
    return near


def _shows_shouting(word: str, words: Container[str]) -> bool:
    """Whether a word in capitals is a word only, and no initialism: THE, HERE, DON'T."""
    if len(word) < 2 or not word.isupper():
        return False
    is_initialism = word in words and word not in _STRESSED
    return word in _STRESSED or (not is_initialism and len(word) > 2 and word.lower() in words)


def _read_word(word: str, before: str, words: Container[str], *, is_shouted: bool) -> str:
    if word.endswith("'S") and word.lower() not in words:
        return _read_word(word[:-2], before, words, is_shouted=is_shouted) + "'s"
    if _is_initialism(word, before, words, is_shouted=is_shouted):
        return word
    if _is_word(word, words):
        small = word.lower()
        return word.capitalize() if small not in words and word.capitalize() in words else small
    is_sayable = len(word) >= _MIN_SAYABLE and _VOWEL.search(word) and not _UNSAYABLE.search(word)
    return word.capitalize() if is_sayable else word


def _is_initialism(word: str, before: str, words: Container[str], *, is_shouted: bool) -> bool:
    """Whether capitals stay: after "the", after a number, or known as such and not shouted."""
    if word in ("AM", "PM"):
        is_verb = word == "AM" and (before == "I" or is_shouted)
        return not is_verb or before.lower() in NUMBER_WORDS
    if word in _AMBIGUOUS:
        return before.lower() in _DETERMINERS or not (is_shouted or word == "WHO")
    if word in _STRESSED:
        return False
    return not is_shouted and (len(word) == 2 or word in words)


def _is_word(word: str, words: Container[str]) -> bool:
    """Whether the dictionary has the word, or what is left of it without an ending."""
    small = word.lower()
    if small in words or small.capitalize() in words:
        return len(small) > 2 or word in _STRESSED or word in ("AM", "US", "IT")
    stems = (small.removesuffix(end) + new for end, new in _ENDINGS if small.endswith(end))
    return len(small) > 3 and any(len(stem) > 2 and stem in words for stem in stems)
