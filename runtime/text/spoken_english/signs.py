"""Signs as words, and nothing left that a phonemizer trips over.

In: text whose numbers are words. Out: letters and plain punctuation. No two words are glued, and no
word is so long, or joined from so many, that phonemizing it takes more than a moment.
"""

from __future__ import annotations

import re
from collections.abc import Container

MAX_WORD_LETTERS = 24  # what hibari's network for unknown words reads; the rest would be lost
MAX_JOINED_PIECES = 12  # hibari's time grows with the cube of the pieces of a word

_EMOTICON = re.compile(
    r"(?<!\S)(?:[:;=][-'o^]?[)(\]\[DPpOo3/\\|*@$]{1,3}|[8xX]-[)(DP]|[xX]D|<3+|\^_+\^|-_+-|[oO]_[oO]"
    r"|¯\\_\(.\)_/¯|:'[()])(?=[.,!?]*(?:\s|$))"
)
_LETTERS_AND_LETTERS = re.compile(r"\b[A-Z]{1,4}(?: ?& ?[A-Z]{1,4})+\b(?!')")
_ARROW = re.compile(r" ?(?:<?-{1,2}>|={1,2}>|→) ?")
_BACK_ARROW = re.compile(r" ?(?:<-{1,2}|←) ?")
_OPTION = re.compile(r"(?<![\w-])--(?=[A-Za-z][\w-]*=)")  # "--out=DIR", of a command line
_DASH = re.compile(r" ?(?<!-)-{2,3}(?!-) ?")
_READ = {
    **{"<=": "is at most", ">=": "is at least", "!=": "is not", "==": "equals", "≤": "is at most"},
    **{
        "≥": "is at least",
        "≠": "is not",
        "≈": "is about",
        "=": "equals",
        "+": "plus",
        "±": "plus or minus",
    },
    **{"×": "times", "÷": "divided by", "√": "root of", "∞": "infinity", "<": "less than"},
    **{">": "greater than", "&": "and", "@": "at", "%": "percent", "°": "degrees", "§": "section"},
    **{"~": "about", "^": "to the power of", "#": "hash", "µ": "micro", "μ": "micro"},
    **{"$": "dollars", "£": "pounds", "€": "euros", "¥": "yen", "¢": "cents", "₹": "rupees"},
}
_SIGN = re.compile("|".join(re.escape(sign) for sign in sorted(_READ, key=len, reverse=True)))
_SQUARED = {"^two": " squared", "^three": " cubed"}
_SQUARE = re.compile(r"\^(?:two|three)\b")
_BESIDE_NOTHING = re.compile(r"(?<!\S)[<>~^#&=%@+]+(?=[.,!?]*(?:\s*$))")
_BRACKETS = str.maketrans(
    {"[": "(", "{": "(", "]": ")", "}": ")", "•": " ", "`": "", "\\": " ", "*": " "}
)
_SLASH = re.compile(r" ?/ ?|_+")
_BAR = re.compile(r" ?\| ?")
_REPEATED = re.compile(r"([^\w\s])\1{3,}")
_PUNCTUATION_RUN = re.compile(r"([^\w\s]{4})[^\w\s]+")
_SPACES = re.compile(r"[ \t]{2,}")
_SPACE_BEFORE_STOP = re.compile(r"(?<=\S) +([,.;:!?])(?![\w.])")
_SPACE_IN_BRACKETS = re.compile(r"(?<=\() +| +(?=\))")
_EMPTY_BRACKETS = re.compile(r" ?\(\s*\)")

_LONG_CHUNK = re.compile(rf"\S{{{MAX_WORD_LETTERS + 1},}}")
_LONG_LETTERS = re.compile(rf"[^\W\d_]{{{MAX_WORD_LETTERS + 1},}}")
_PIECE = re.compile(r"[^\W\d_a-zß-öø-ÿ]*[a-zß-öø-ÿ]*(?:'[a-zß-öø-ÿ]{1,3})?[^\w\s]?|\S")


def drop_emoticons(text: str) -> str:
    """The text without ":-)" and its like, which come before numbers because of "<3"."""
    return _EMOTICON.sub(" ", text)


def read_signs(text: str) -> str:
    """Words for signs that have some; brackets are round; the rest leaves a space."""
    text = _LETTERS_AND_LETTERS.sub(_read_letters, text)
    text = _BACK_ARROW.sub(" ", _ARROW.sub(" to ", text))
    text = _OPTION.sub("dash dash ", text)
    text = _BESIDE_NOTHING.sub(" ", _DASH.sub(" — ", text))
    text = _SQUARE.sub(lambda found: _SQUARED[found[0]], text)
    text = _SIGN.sub(lambda found: f" {_READ[found[0]]} ", text)
    return _SLASH.sub(" ", _BAR.sub(", ", text).translate(_BRACKETS))


def tidy(text: str) -> str:
    """Single spaces, none before a stop or inside of a bracket."""
    text = _SPACE_IN_BRACKETS.sub("", _EMPTY_BRACKETS.sub("", text))
    return _SPACE_BEFORE_STOP.sub(r"\1", _SPACES.sub(" ", text)).strip()


def break_long_words(text: str, words: Container[str]) -> str:
    """Spaces into words longer than any and into chains of joined ones; no long runs of signs."""
    text = _PUNCTUATION_RUN.sub(r"\1", _REPEATED.sub(r"\1\1\1", text))
    return _LONG_CHUNK.sub(lambda chunk: _break(chunk[0], words), text)


def _break(chunk: str, words: Container[str]) -> str:
    chunk = _LONG_LETTERS.sub(lambda run: _halve(run[0], words), chunk)
    return " ".join(_loosen(part) for part in chunk.split(" "))


def _halve(letters: str, words: Container[str]) -> str:
    if letters.lower() in words:
        return letters
    count = -(-len(letters) // MAX_WORD_LETTERS)
    size = -(-len(letters) // count)
    return " ".join(letters[start : start + size] for start in range(0, len(letters), size))


def _loosen(chunk: str) -> str:
    """Spaces between the pieces of a chunk, if they are too many."""
    pieces = _PIECE.findall(chunk)
    return " ".join(pieces) if len(pieces) > MAX_JOINED_PIECES else chunk


def _read_letters(found: re.Match[str]) -> str:
    """ "AT&T" -> "A.T and T": dotted, so that no part is taken for a word."""
    parts = [part.strip() for part in found[0].split("&")]
    return " and ".join(part if len(part) == 1 else ".".join(part) for part in parts)
