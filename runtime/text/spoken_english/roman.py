"""Roman numerals after names: "Henry VIII" is the eighth, "Chapter IV" four.

In: text. Out: the same with the numerals after such a name in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from runtime.text.spoken_english.number_words import cardinal, ordinal, roman_value

_NUMBERED = (
    "Chapter Part Act Scene Section Volume Vol Book Phase Article Mark Type Level Stage Class "
    "Grade Episode Round Figure Table Appendix Apollo Gemini Rocky Title Division Unit Lesson "
    "Season Page Item Step Saturn Tier Schedule Canto Symphony Sonata"
)
_NUMBERED_PAIRS = "World War|Super Bowl|Final Fantasy|Star Wars"
_RULERS = (
    "Pope King Queen Prince Emperor Henry Louis Edward George William Charles James Richard "
    "Elizabeth Napoleon Pius Benedict Leo Paul Ramses Frederick Philip Alexander Nicholas Peter "
    "Catherine Ivan Umberto Emmanuel Gustav Christian Ferdinand Francis Joseph Clement Gregory "
    "Innocent Urban Leopold Mary Robert Thutmose Ptolemy Otto Wilhelm Friedrich Carl Haakon "
    "Harald Margrethe Alfonso Juan Pedro John Adrian Sixtus Boniface Stephen Constantine "
    "Theodore Vladimir Mehmed Selim Murad Darius"
)
_NUMERAL = re.compile("(?:C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
# "Vitamin C" and "Type C" are letters, and "the part I like" has a pronoun.
_WRITTEN = r"(?![CL]\b)([IVXLC]{1,9})\b(?!['.]\w)(?!(?<=\bI) (?!of|and|is|was|in\b)[a-z])"
_COUNT = re.compile(rf"\b((?i:{'|'.join(_NUMBERED.split())}|{_NUMBERED_PAIRS})) {_WRITTEN}")
_RANK = re.compile(rf"\b({'|'.join(_RULERS.split())}) {_WRITTEN}")


def read_roman_numerals(text: str) -> str:
    """Words for numerals after the names of chapters, wars and rulers."""
    text = _RANK.sub(lambda found: _read(found, "the ", ordinal), text)
    return _COUNT.sub(lambda found: _read(found, "", cardinal), text)


def _read(found: re.Match[str], article: str, name: Callable[[int], str]) -> str:
    if not _NUMERAL.fullmatch(found[2]):
        return found[0]
    return f"{found[1]} {article}{name(roman_value(found[2]))}"
