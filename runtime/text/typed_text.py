"""Checks text that a user typed, before anything else is done with it.

In: text. Out: nothing, or a `UserError`. It does not know sentences, prompts, tokenizers or audio.
"""

from __future__ import annotations

import re
import unicodedata

from commands.errors import UserError

MAX_TEXT_BYTES = 100_000

# Control codes of terminals: colours (CSI "m"), and links behind words (OSC 8).
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;:]*m|\x1b\]8;[^\x07\x1b]*(?:\x07|\x1b\\)")
_TRADE_MARKS = "™℠"
_LAYOUT_CHARACTERS = "\n\r\t\f\v"


def check_text(text: str) -> None:
    """Refuse text that cannot be spoken.

    Raises:
        UserError: empty, without a letter or digit, longer than `MAX_TEXT_BYTES`, or holding
            control characters other than line breaks and tabs.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TEXT_BYTES:
        raise UserError(f"the text has {size} bytes; the limit is {MAX_TEXT_BYTES}, so cut it up")
    for position, character in enumerate(text):
        if _is_control(character):
            raise UserError(
                f"the text has a control character (U+{ord(character):04X}) at position "
                f"{position}; remove it"
            )
    if not has_words(text):
        what = "is empty" if not text.strip() else f"{text.strip()[:20]!r} has no letter or digit"
        raise UserError(f"the text {what}; there is nothing to speak")


def drop_terminal_codes(text: str) -> str:
    """Text as a terminal shows it: without codes for colours and links, as pasted text has."""
    return _TERMINAL_CODES.sub("", text)


def has_words(text: str) -> bool:
    """Whether there is anything to speak: a letter or digit of any script, or a sign made of them.

    "㎏" is such a sign; "™" is not, because it is not read.
    """
    if any(character.isalnum() for character in text):
        return True
    return not text.isascii() and any(map(_is_sign_of_letters, text))


def _is_sign_of_letters(character: str) -> bool:
    plain = unicodedata.normalize("NFKC", character)
    return plain[0].isalnum() and character not in _TRADE_MARKS


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") and character not in _LAYOUT_CHARACTERS
