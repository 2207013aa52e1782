"""Signs in a phoneme string: at most one between two words, a stop at the end, all known.

In: a phonemizer's output, and whether the model's tokenizer holds a symbol. Out: the string that
the model reads. It knows no languages, tokenizers or texts.

A *symbol* is a phoneme with the stress marks before it, which is what tokenizers hold. Signs that
a tokenizer lacks become the pause that it has: a comma, or nothing next to another sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

STOPS = ".!?"
PAUSES = ",;:—…()"
QUOTES = '“”"'
STRESSES = "ˈˌ"

Holds = Callable[[str], bool]

_OPENING, _CLOSING = "(“", ')”"'
_ALL_SIGNS = f" {STOPS}{PAUSES}{QUOTES}"
_SIGNS = re.escape(STOPS + PAUSES + QUOTES)
_PART = re.compile(rf"(?P<run>[\s{_SIGNS}]+)|[{STRESSES}]*[^\s{_SIGNS}{STRESSES}]|[{STRESSES}]+")
_ELLIPSIS = re.compile(r"\.{2,}")
_BEFORE_SIGN = re.compile(r" +(?=[,;:…!?.)])")  # where a word that cannot be read was left out
_REPEATED = re.compile(r"([!?])\1+")
_COMMAS = re.compile(",(?:[\\s,]*,)+")
_NEVER_FIRST = f" {STOPS},;:—…{_CLOSING}"
# Replacements for phonemes that a tokenizer lacks; only loan words have them.
_NEAREST = {"a": "æ", "y": "u", "ɾ": "t", "ʔ": "t", "æ": "a"}


@dataclass(frozen=True)
class Part:
    """Some symbols of a phoneme string, and what the model reads in their place.

    is_lost: a phoneme has no replacement.
    """

    source: str
    written: str
    is_lost: bool = False


def close_phonemes(phonemes: str) -> str:
    """Phonemes of one sentence with single signs between words, and a stop at the end.

    A phonemizer drops the full stop of an abbreviation and keeps any other ending. A model that
    was trained on whole sentences goes on talking after such endings. Quotes and brackets that
    close stand before the stop, as they do where speech is quoted within a sentence.
    """
    text = _ELLIPSIS.sub("…", " ".join(phonemes.split()))
    text = _BEFORE_SIGN.sub("", text)
    text = _REPEATED.sub(r"\1", text).lstrip(_NEVER_FIRST)
    spoken = text.rstrip(_ALL_SIGNS)
    end = text[len(spoken) :]
    if not spoken:
        return ""
    closing = "".join(sign for sign in end if sign in _CLOSING)
    stops = "".join(dict.fromkeys(sign for sign in end if sign in STOPS))
    return f"{spoken}{closing}{stops or '.'}"


def soften_stops(phonemes: str) -> str:
    """Replace all full stops but the last: "10, 9, 8." Models take the first one for the end."""
    spoken = phonemes.rstrip(_ALL_SIGNS)
    softened = _COMMAS.sub(",", spoken.replace(".", ","))
    return softened + phonemes[len(spoken) :]


def fit_phonemes(phonemes: str, holds: Holds) -> list[Part]:
    """The parts of a closed string, each written in symbols that `holds` accepts.

    Joined, the `source`s are the given string, and the `written` parts what the model reads.
    """
    parts = []
    for match in _PART.finditer(phonemes):
        source, is_run = match.group(), match["run"] is not None
        if all(map(holds, source)) if is_run else holds(source):
            parts.append(Part(source, source))
        elif is_run:
            is_last = match.end() == len(phonemes)
            parts.append(Part(source, _fit_run(source, match.start() == 0, is_last, holds)))
        else:
            stand_in = next(filter(holds, _stand_ins(source)), None)
            is_lost = stand_in is None and bool(source.strip(STRESSES))
            parts.append(Part(source, stand_in or "", is_lost))
    return parts


def join_parts(parts: Iterable[Part]) -> str:
    return "".join(part.written for part in parts)


def _fit_run(run: str, is_first: bool, is_last: bool, holds: Holds) -> str:
    """The signs between two words, written in symbols that are held: a stop, else a pause, with
    quotes around."""
    opening = "".join(sign for sign in run if sign in _OPENING and holds(sign))
    if is_first:
        return opening
    closing = "".join(sign for sign in run if sign in _CLOSING and holds(sign))
    stops = "".join(dict.fromkeys(sign for sign in run if sign in STOPS and holds(sign)))
    if is_last:
        return closing + (stops or _first_held(STOPS, holds))
    pauses = [sign for sign in run if sign in PAUSES and sign not in "()"]
    kept = next((sign for sign in pauses if holds(sign)), "")
    is_pause = any(sign in STOPS + PAUSES for sign in run)
    needs_mark = is_pause and not (set(opening + closing) & set("()"))
    mark = stops or kept or (_first_held(",;", holds) if needs_mark else "")
    return f"{closing}{mark}{' ' if holds(' ') else ''}{opening}"


def _first_held(signs: str, holds: Holds) -> str:
    return next(filter(holds, signs), "")


def _stand_ins(symbol: str) -> Iterable[str]:
    """Alternatives: the same phoneme with other stress, then the nearest phoneme."""
    phoneme = symbol[-1]
    for other in (phoneme, _NEAREST.get(phoneme, "")):
        if other:
            yield symbol[:-1] + other
            yield from (other, *(stress + other for stress in STRESSES))
