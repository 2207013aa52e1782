"""Characters: one sign for each thing that is written in several ways, and none that is not read.

In: any text. Out: the text with composed accents, one kind of apostrophe, digits 0 to 9, plain
spaces. Letters of every script stay; who speaks them, or says that it cannot, comes later.
"""

from __future__ import annotations

import re
import unicodedata

from runtime.text.spoken_english.sign_names import is_picture, name_signs

# Marks inside words that nobody sees go without leaving a space.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff™®℠]"
)
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_APOSTROPHE = re.compile("[’‛ʼʹ′ʻ＇]|‘(?=[0-9])|(?<=[^\\W\\d_])[`´‘](?=[^\\W\\d_])")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_POWER = re.compile("(?<=[\\w)])[²³¹⁰⁴-⁹⁺⁻ⁿ]+")
_FRACTION_AFTER_DIGIT = re.compile("(?<=[0-9])(?=[¼½¾⅐-⅞])")
# Other forms of a character that mean the same: wide, ligature, Roman, circled, mathematical.
_COMPATIBLE = re.compile(
    "[ªº²³¹¼-¾\u2070-\u209c\u2100-\u214f\u2150-\u217f\u2460-\u24ff\u3300-\u33ff"
    "\ufb00-\ufb06\uff01-\uff5e\uffe0-\uffe6\U0001d400-\U0001d7ff]"
)
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("«»„‟″", '"'),
        **dict.fromkeys("‹›‚", "'"),
        **dict.fromkeys("‐‑‒⁃﹣−", "-"),
        **dict.fromkeys("―⸺⸻", "—"),
        **dict.fromkeys("∕⁄", "/"),
        **dict.fromkeys("¿¡", ""),
        **{"、": ", ", "。": ". ", "！": "! ", "？": "? ", "，": ", ", "№": "No. ", "º": "°"},
    }
)
_SIGNS = "£€¥¢₹₩₽₺₴₪₫฿₿°§×÷±≈≠≤≥→‰µμ√∞•"
_UNREAD = re.compile(
    rf"[^\w\s!\"'(),\-.:;?—–…“”‘#$%&*+/<=>@^~`|\[\]{{}}\\{_SIGNS}]|[\u0300-\u036f]"
)


def fold_characters(text: str) -> str:
    """Look-alikes folded, accents composed, invisible marks and unread signs removed.

    A sign without a reading, such as a picture, leaves a space, so that no two words are glued.
    """
    if not text.isascii():
        text = name_signs(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)))
        text = _APOSTROPHE.sub("'", _SPACES.sub(" ", text))
        text = _POWER.sub(lambda power: "^" + power[0].translate(_RAISED), text)
        text = _FRACTION_AFTER_DIGIT.sub(" ", text).translate(_PLAIN)
        text = _COMPATIBLE.sub(lambda form: unicodedata.normalize("NFKC", form[0]), text)
        text = "".join(map(_fold_digit, text.translate(_PLAIN)))
    return _UNREAD.sub(" ", text)


def find_unread_signs(text: str) -> tuple[str, ...]:
    """Signs such as "⊕" that are left out, though they mean something; not emoji or ornaments."""
    if text.isascii():
        return ()
    signs = (sign for sign in dict.fromkeys(text) if not (sign.isascii() or is_picture(sign)))
    return tuple(sign for sign in signs if not fold_characters(sign).strip())


def _fold_digit(character: str) -> str:
    if character.isascii() or not character.isdigit():
        return character
    return str(unicodedata.digit(character))
