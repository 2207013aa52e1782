"""Text frontends: a sentence becomes the string that the model reads, as it is or as phonemes.

In: the manifest's `text_frontend` and a sentence as people write it. Out: a `Reading`: the string
that the model reads, and the words that the frontend cannot read. It does not know prompts or
tokenizers.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from commands.errors import UserError
from commands.extras import install_command
from runtime.text.hibari_reader import find_hibari, load_g2p
from runtime.text.letters import simplify_letters, take_foreign_words
from runtime.text.signs import PAUSES, STOPS, close_phonemes
from runtime.text.spoken_english import find_unread_signs, write_as_spoken

HIBARI = "hibari"
HIBARI_LANGUAGES = ("en-us", "en-gb")
HIBARI_SCRIPT = "Latin letters"
_SIGNS = f" {STOPS}{PAUSES}“”"
# Everything that hibari writes: phonemes of its lexicons and of its model for unknown words, signs.
HIBARI_SYMBOLS = {
    "en-us": f"{_SIGNS}AIOTWYabdfhijklmnpstuvwyzæðŋɐɑɔəɛɜɡɪɹʃʊʌʒʤʧθᵊᵻ",
    "en-gb": f"{_SIGNS}AIQWYabdfhijklmnpstuvwyzðŋɐɑɒɔəɛɜɡɪɹʃʊʌʒʤʧːθᵊ",
}

# Signs that hibari would leave out -> signs that it keeps.
_PLAIN_SIGNS = str.maketrans(
    dict(zip("。．！？，、；：", (f"{sign} " for sign in "..!?,,;:"), strict=True))
    | dict(zip("（【［[{", "(((((", strict=True))
    | dict(zip("）】］]}", ")))))", strict=True))
)
# A hyphen as a dash, but not from number to number: that is "to", or "minus".
_DASH = re.compile(
    r"(?<=\S)(?<!\d)\s+(?:-{1,3}|–)\s+(?=\S)|(?<=\d)\s+(?:-{1,3}|–)\s+(?=[^\s\d])"
    r"|(?<=[^\W\d])--+(?=[^\W\d])"
)


@dataclass(frozen=True)
class Reading:
    """text: what the model reads; empty if there is nothing. skipped: words without a reading."""

    text: str
    skipped: tuple[str, ...] = ()


Reader = Callable[[str], Reading]
Frontend = Callable[[str], str]


def make_frontend(spec: Mapping[str, str]) -> Frontend:
    """For training: the function from a sentence to the string that the model reads.

    It refuses a sentence with words that it cannot read, because the recording has them.

    Raises:
        UserError: as `make_reader`.
    """
    read = make_reader(spec)

    def read_whole(text: str) -> str:
        reading = read(text)
        if reading.skipped:
            raise UserError(f"cannot read {list_words(reading.skipped)}; change the text")
        return reading.text

    return read_whole


def make_reader(spec: Mapping[str, str]) -> Reader:
    """The function from a sentence to its `Reading`.

    `{"kind": "none"}` passes text on as it is. `{"kind": "hibari", "language": "en-us"}` (or
    `en-gb`) writes English as phonemes, single signs between words and a stop at the end.

    Raises:
        UserError: an unknown kind or language, or a package that is not installed.
    """
    kind = spec.get("kind")
    if kind == "none":
        return Reading
    if kind == HIBARI:
        return _make_hibari(spec.get("language", HIBARI_LANGUAGES[0]))
    raise UserError(f"unknown text frontend {kind!r}; this version has: none, hibari")


def language_of(spec: Mapping[str, str]) -> str | None:
    """The language that a frontend reads, as in "en-US" (BCP 47); None if it does not say."""
    if spec.get("kind") != HIBARI:
        return None
    language, _, region = spec.get("language", HIBARI_LANGUAGES[0]).partition("-")
    return f"{language}-{region.upper()}"


def list_words(words: tuple[str, ...], most: int = 5, longest: int = 30) -> str:
    """Words for a message: each once, quoted, and only the first few."""
    distinct = list(dict.fromkeys(words))
    shown = ", ".join(repr(word[:longest]) for word in distinct[:most])
    return shown + (f" and {len(distinct) - most} more" if len(distinct) > most else "")


def _make_hibari(language: str) -> Reader:
    if language not in HIBARI_LANGUAGES:
        raise UserError(f"unknown language {language!r}; hibari has: {', '.join(HIBARI_LANGUAGES)}")
    if find_hibari() is None:
        raise _not_installed()

    def read(text: str) -> Reading:
        hibari = _load_hibari(language)
        latin, skipped = take_foreign_words(text)
        signs = _write_signs(write_as_spoken(latin, hibari.words))
        phonemes = hibari.phonemize(simplify_letters(signs, hibari.letters), text)
        known = "".join(symbol for symbol in phonemes if symbol in hibari.alphabet)
        return Reading(close_phonemes(known), skipped + find_unread_signs(latin))

    return read


class _Hibari:
    """hibari's reader for one language. words: of its lexicons, with phonemes. letters: those that
    unknown words are read by. alphabet: all that it writes."""

    def __init__(self, language: str) -> None:
        try:
            g2p = load_g2p()
        except ImportError:
            raise _not_installed() from None
        self._phonemize = g2p.G2P(british=language == "en-gb")
        self.alphabet = frozenset(g2p._load_json("vocab.json"))
        self.letters = frozenset(g2p._load_json("oov.json")["in"])
        lexicon = self._phonemize.lexicon
        self.words = ChainMap(lexicon.golds.d, lexicon.silvers.d)

    def phonemize(self, spoken: str, text: str) -> str:
        """The phonemes of words as they are spoken. text: as it was written, for messages."""
        try:
            # hibari's own normalization is skipped: `write_as_spoken` is more accurate.
            return self._phonemize(spoken, normalize_text=False) or ""
        except ModuleNotFoundError as error:
            raise UserError(
                f"{text[:40]!r} holds a word that is not in hibari's lexicons, and to read those "
                f"needs the package {error.name}; install it, or change the text"
            ) from None
        except Exception as error:  # the library names no type for what it cannot read
            raise UserError(
                f"hibari cannot read {text[:40]!r} ({error}); change the text"
            ) from None


@cache
def _load_hibari(language: str) -> _Hibari:
    """When the first sentence is read: it takes longer than all else that a bundle needs."""
    return _Hibari(language)


def _not_installed() -> UserError:
    return UserError(
        "this voice reads phonemes, which need the package hibari-tts; install it: "
        + install_command("phonemes")
    )


def _write_signs(text: str) -> str:
    """Replace signs of other scripts, brackets and hyphens by signs that hibari keeps."""
    return _DASH.sub(" — ", text.translate(_PLAIN_SIGNS))
