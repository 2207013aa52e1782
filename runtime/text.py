"""Text: checks, sentences, and the frontend that turns a sentence into what the model reads.

In: text that anybody may have typed. Out: sentences short enough for the model, and for each of
them the string that goes into the prompt. It does not know prompts, tokenizers or audio.

One sentence stays what it is, byte for byte. Longer text is cut at sentence ends; a sentence that
does not fit is cut near its middle at clause punctuation, else between words, else anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections import ChainMap
from collections.abc import Callable, Mapping

from runtime.errors import UserError
from runtime.spoken_english import write_as_spoken

MAX_TEXT_BYTES = 100_000
HIBARI_LANGUAGES = ("en-us", "en-gb")

Frontend = Callable[[str], str]

_LAYOUT_CHARACTERS = "\n\r\t\f\v"
_CLOSING = "\"'”’»)\\]」』】）"
_WIDE_ENDS = "。！？"  # sentence ends of scripts that put no space after them
_SENTENCE_END = re.compile(
    rf"[.!?…]+[{_CLOSING}]*\s+|[{_WIDE_ENDS}]+[{_CLOSING}]*\s*|\s*\n\s*\n\s*"
)
_CLAUSE_END = re.compile(r"[,;:][\"'”’)]*\s+|\s[–—-]+\s|[，；：、]|—")
_SPACE = re.compile(r"\s+")

# Words whose full stop does not end a sentence: titles, Latin, and what stands before a number.
_TITLES = "Mr Mrs Ms Dr Prof St Rev Fr Gen Col Capt Lt Sgt Maj Gov Sen Rep Hon Pres Messrs Mme"
_LATIN = "vs cf e.g i.e viz approx ca al"
_NUMBERED = "no nos vol fig figs eq sec ch p pp art"
_NEVER_LAST = frozenset(f"{_TITLES} {_LATIN}".split())
_BEFORE_NUMBER = frozenset(_NUMBERED.split())


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


def has_words(text: str) -> bool:
    """Whether there is anything to speak: a letter or a digit of any script."""
    return any(character.isalnum() for character in text)


def split_sentences(text: str) -> list[str]:
    """Cut text at sentence ends and blank lines.

    A single sentence is returned unchanged. In longer text white space is evened out to single
    spaces; nothing else is added, lost or changed.
    """
    pieces, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        if _ends_sentence(text, start, match):
            pieces.append(text[start : match.end()])
            start = match.end()
    pieces = _join_wordless([*pieces, text[start:]])
    return [text] if len(pieces) == 1 else [" ".join(piece.split()) for piece in pieces]


def split_to_fit(sentence: str, fits: Callable[[str], bool]) -> list[str]:
    """Halve a sentence until every piece fits; a sentence that fits is returned unchanged.

    Raises:
        UserError: a single character that does not fit.
    """
    if fits(sentence):
        return [sentence]
    cut = _cut_position(sentence)
    halves = [half for half in (sentence[:cut].strip(), sentence[cut:].strip()) if half]
    if halves == [sentence]:
        raise UserError(f"the model has no room for {sentence[:20]!r}; export with more positions")
    return [piece for half in halves for piece in split_to_fit(half, fits)]


def make_frontend(spec: Mapping[str, str]) -> Frontend:
    """The function from a sentence to the string that the model reads.

    `{"kind": "none"}` passes text on as it is. `{"kind": "hibari", "language": "en-us"}` (or
    `en-gb`) writes English as phonemes.

    Raises:
        UserError: an unknown kind or language, or a package that is not installed.
    """
    kind = spec.get("kind")
    if kind == "none":
        return lambda text: text
    if kind == "hibari":
        return _make_hibari(spec.get("language", HIBARI_LANGUAGES[0]))
    raise UserError(f"unknown text frontend {kind!r}; this version has: none, hibari")


def _make_hibari(language: str) -> Frontend:
    if language not in HIBARI_LANGUAGES:
        raise UserError(f"unknown language {language!r}; hibari has: {', '.join(HIBARI_LANGUAGES)}")
    try:
        from hibari import g2p
    except ImportError:
        raise UserError(
            "this voice reads phonemes, which need the package hibari-tts: pip install hibari-tts"
        ) from None
    phonemize = g2p.G2P(british=language == "en-gb")
    alphabet = frozenset(g2p._load_json("vocab.json"))
    words = ChainMap(phonemize.lexicon.golds.d, phonemize.lexicon.silvers.d)

    def read(text: str) -> str:
        try:
            # hibari's own normalization is left out: what it does wrong, `write_as_spoken` does.
            phonemes = phonemize(write_as_spoken(text, words), normalize_text=False) or ""
        except Exception as error:  # numbers of hundreds of digits, for one
            raise UserError(
                f"hibari cannot read {text[:40]!r} ({error}); change the text"
            ) from None
        return "".join(symbol for symbol in phonemes if symbol in alphabet)

    return read


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") and character not in _LAYOUT_CHARACTERS


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    """False before a lower-case word, after an abbreviation, and at the text's end."""
    if match.end() == len(text):
        return False
    mark, following = match.group(), text[match.end()]
    if mark[0] in _WIDE_ENDS or not mark.strip():
        return True
    if following.islower():
        return False
    return mark.rstrip() != "." or not _is_abbreviated(text[start : match.start()], following)


def _is_abbreviated(before: str, following: str) -> bool:
    """Whether the full stop after `before` belongs to its last word: "Dr", "J", "U.S", "1"."""
    words = before.split()
    last = words[-1].lstrip("(\"“'‘[") if words else ""
    is_initials = last.isupper() and all(len(part) == 1 for part in last.split("."))
    is_list_number = len(words) == 1 and last.isdecimal()
    is_numbered = last.lower() in _BEFORE_NUMBER and following.isdecimal()
    return last in _NEVER_LAST or is_initials or is_list_number or is_numbered


def _join_wordless(pieces: list[str]) -> list[str]:
    """Join a piece with nothing to speak, such as "…", to the one before it."""
    joined: list[str] = []
    for piece in pieces:
        if joined and not (has_words(piece) and has_words(joined[-1])):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _cut_position(sentence: str) -> int:
    """The clause end nearest the middle if it lies in the middle half, else space, else middle."""
    middle, quarter = len(sentence) // 2, len(sentence) // 4
    clauses = [match.end() for match in _CLAUSE_END.finditer(sentence)]
    central = [cut for cut in clauses if abs(cut - middle) <= quarter]
    spaces = [match.end() for match in _SPACE.finditer(sentence) if match.start() > 0]
    for cuts in (central, [cut for cut in spaces if cut < len(sentence)]):
        if cuts:
            return min(cuts, key=lambda cut: abs(cut - middle))
    return middle
