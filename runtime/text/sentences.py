"""Cuts a text into sentences, so that each piece is one utterance of the model.

In: text, and whether a piece fits into the model. Out: sentences short enough for it. One
sentence stays what it is, byte for byte. Longer text is cut at sentence ends and between the
items of lists; a sentence that does not fit is cut near its middle at clause punctuation, else
between words, else anywhere. It does not know phonemes, prompts or tokenizers.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from commands.errors import UserError
from runtime.text.abbreviations import is_count, is_list_mark, keeps_full_stop
from runtime.text.joined_sentences import JOINT, ends_joined_sentence
from runtime.text.layout import split_items
from runtime.text.typed_text import has_words

_CLOSING = "\"'”’»)\\]」』】）"
_WIDE_ENDS = "。！？"  # sentence ends of scripts that put no space after them
_MARKS = ".!?…"
_CONTEXT = 200  # characters on each side of a full stop that tell what it is
_SENTENCE_END = re.compile(
    rf"(?<![{_MARKS}])[{_MARKS}]+[{_CLOSING}]*\s+|[{_WIDE_ENDS}]+[{_CLOSING}]*\s*|{JOINT.pattern}"
)
_CLAUSE_END = re.compile(r"[,;:][\"'”’)]*\s+|\s[–—-]+\s|[，；：、]|—")
_SPACE = re.compile(r"\s+")
_LAST_END = re.compile(rf"(?<![{_MARKS}{_WIDE_ENDS}])[{_MARKS}{_WIDE_ENDS}]+[{_CLOSING}]*\s*$")
_ORDINARY_BEGINNING = "The"  # of a next sentence


def split_sentences(text: str) -> list[str]:
    """Cut text at sentence ends, blank lines and items of lists.

    A single sentence is returned unchanged. In longer text white space is evened out to single
    spaces; nothing else is added, lost or changed.
    """
    pieces = cut_sentences(text)
    return [text] if len(pieces) == 1 else [" ".join(piece.split()) for piece in pieces]


def cut_sentences(text: str) -> list[str]:
    """The same sentences as they stand in the text, with the white space behind them: joined, they
    are the text."""
    return _join_wordless([part for item in split_items(text) for part in _split_at_ends(item)])


def cut_clauses(sentence: str, least_characters: int) -> list[str]:
    """Pieces of a sentence that end at clause punctuation; joined, they are the sentence. A shorter
    piece stays with the next."""
    pieces, start = [], 0
    for match in _CLAUSE_END.finditer(sentence):
        if min(match.end() - start, len(sentence) - match.end()) >= least_characters:
            pieces.append(sentence[start : match.end()])
            start = match.end()
    return [*pieces, sentence[start:]]


def ends_here(text: str) -> bool:
    """Whether a sentence seems to end with the text, if no more of it comes for a while."""
    match = _LAST_END.search(text)
    if match is None:
        return False
    before = text[max(0, match.start() - _CONTEXT) : match.start()]
    if match.group()[0] != ".":
        return True
    return before[-1:].isalpha() and not keeps_full_stop(before, _ORDINARY_BEGINNING)


def split_to_fit(sentence: str, fits: Callable[[str], bool]) -> list[str]:
    """Halve a sentence until every piece fits; a sentence that fits is returned unchanged.

    `fits` is called for each piece that is returned, and first for longer pieces that hold it.

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


def _split_at_ends(text: str) -> list[str]:
    pieces, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        if _ends_sentence(text, start, match):
            pieces.append(text[start : match.end()])
            start = match.end()
    return [*pieces, text[start:]]


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    """False before a lower-case word, after an abbreviation, and at the text's end."""
    if match.end() == len(text):
        return False
    mark = match.group().rstrip()
    before = text[max(start, match.start() - _CONTEXT) : match.start()]
    after = text[match.end() : match.end() + _CONTEXT]
    if mark[0] in _WIDE_ENDS:
        return True
    if after[0].islower() or after[0] in _MARKS or before.endswith("["):  # "[...]" is left out
        return False
    if not match.group()[-1].isspace() and not ends_joined_sentence(match):
        return False
    if mark == ".":
        return not keeps_full_stop(before, after)
    if mark == ".)":
        return not is_list_mark(before.split())
    return not (mark == "…" and is_count(before.split()) and after[0].isdecimal())


def _join_wordless(pieces: list[str]) -> list[str]:
    """Join a piece without anything to speak, such as "…", to the piece before it."""
    joined: list[str] = []
    for piece in pieces:
        if joined and not (has_words(piece) and has_words(joined[-1])):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _cut_position(sentence: str) -> int:
    """The clause end nearest to the middle if it lies in the middle half, else a space, else the
    middle."""
    middle, quarter = len(sentence) // 2, len(sentence) // 4
    clauses = [match.end() for match in _CLAUSE_END.finditer(sentence)]
    central = [cut for cut in clauses if abs(cut - middle) <= quarter]
    spaces = [match.end() for match in _SPACE.finditer(sentence) if match.start() > 0]
    for cuts in (central, [cut for cut in spaces if cut < len(sentence)]):
        if cuts:
            return min(cuts, key=lambda cut: abs(cut - middle))
    return middle
