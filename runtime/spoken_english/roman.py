"""Roman numerals after names: "Henry VIII" is the eighth, "Chapter IV" four.

In: text. Out: the same with the numerals that follow such a name in words. Elsewhere letters are letters.
"""

from __future__ import annotations

import re

from runtime.spoken_english.number_words import cardinal, ordinal, roman_value

_NUMBERED = (
    "Chapter Part Act Scene Section Volume Vol Book Phase Article Mark Type Level Stage Class Grade "
    "Episode Round Figure Table Appendix Apollo Gemini Rocky Title Division Unit Lesson Season "
    "Page Item Step Saturn Tier Schedule Canto Symphony Sonata"
)
_NUMBERED_PAIRS = "World War|Super Bowl|Final Fantasy|Star Wars"
_RULERS = (
    "Pope King Queen Prince Emperor Henry Louis Edward George William Charles James Richard Elizabeth "
    "Napoleon Pius Benedict Leo Paul Ramses Frederick Philip Alexander Nicholas Peter Catherine Ivan "
    "Umberto Emmanuel Gustav Christian Ferdinand Francis Joseph Clement Gregory Innocent Urban Leopold "
    "Mary Robert Thutmose Ptolemy Otto Wilhelm Friedrich Carl Haakon Harald Margrethe Alfonso Juan "
    "Pedro John Adrian Sixtus Boniface Stephen Constantine Theodore Vladimir Mehmed Selim Murad Darius"
)
_NUMERAL = r"(?=[IVXLC])(?![CL]\b)(?:C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_COUNT = re.compile(
    rf"\b({'|'.join(_NUMBERED.split())}|{_NUMBERED_PAIRS})( )({_NUMERAL})\b(?!['.]\w)", re.IGNORECASE
)
_RANK = re.compile(rf"\b({'|'.join(_RULERS.split())})( )({_NUMERAL})\b(?!['.]\w|(?<=\bI) [a-z])")


def read_roman_numerals(text: str) -> str:
    """Words for numerals after the names of chapters, wars and rulers."""
    text = _RANK.sub(lambda found: f"{found[1]} the {ordinal(roman_value(found[3]))}", text)
    return _COUNT.sub(_read_count, text)


def _read_count(found: re.Match[str]) -> str:
    """Numerals are capitals, and "Part I saw" is no first part."""
    name, space, numeral = found.groups()
    is_pronoun = numeral == "I" and re.match(r" [a-z]", found.string[found.end() : found.end() + 2])
    if not numeral.isupper() or (is_pronoun and name[0].islower()):
        return found[0]
    return name + space + cardinal(roman_value(numeral))
