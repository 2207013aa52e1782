"""Paragraphs, lines and list items, which end an utterance without a full stop.

In: text. Out: pieces that, joined, are the text. It does not know sentences.

A line break inside a paragraph ends an item if the next line begins one, or if nothing forced
it: the next word would have had room in the paragraph's width. Text that was wrapped at a width
therefore stays together.
"""

from __future__ import annotations

import re
from itertools import pairwise

NARROW_COLUMNS = 40  # prose is wrapped at more; shorter lines were broken on purpose
FULL_SHARE = 0.85  # of the width: a line is full if the next word would exceed it
LEAST_LIST_LINES = 3  # of a list in lower case

_BULLETS = "•‣▪◦⁃"
_ITEM = re.compile(rf"[{_BULLETS}]|[-*+·]\s|\(?(?:\d{{1,3}}(?:\.\)|[.)])|[A-Za-z]\)|[a-z]\.)\s")
_MARK = re.compile(rf"(?<!\S)(?:(\d{{1,3}}|[a-z])(\.\)|[.)])\s+|([{_BULLETS}])\s*)(?=\S)")
_STOPS = (".", "!", "?", "…", "。", "！", "？")
_GOES_ON = (",", ";", "-", "–", "—", "，", "、", "；")
_CLOSING = "\"'”’»)]」』】）"
_BLANK = f" \t\r\n{_BULLETS}"


def split_items(text: str) -> list[str]:
    """Cut text at blank lines, at line breaks that end an item, and before the marks of items."""
    lines = text.splitlines(keepends=True)
    pieces, paragraph = [""], list[str]()
    for line in lines:
        if line.strip():
            paragraph.append(line)
            continue
        pieces += _split_paragraph(paragraph)
        pieces[-1] += line
        paragraph = []
    pieces += _split_paragraph(paragraph)
    return [part for piece in pieces for part in _split_line(piece)]


def _split_paragraph(lines: list[str]) -> list[str]:
    """Split lines, with no blank line among them, into items."""
    pieces = lines[:1]
    for line, ends in zip(lines[1:], _find_ends([line.strip() for line in lines]), strict=True):
        if ends:
            pieces.append(line)
        else:
            pieces[-1] += line
    return pieces


def _find_ends(lines: list[str]) -> list[bool]:
    """For every line but the last, whether an item ends with it."""
    width = max(map(len, lines), default=0)
    has_stops = any(line.rstrip(_CLOSING).endswith(_STOPS) for line in lines)
    is_list = not has_stops and width < NARROW_COLUMNS and len(lines) >= LEAST_LIST_LINES
    if not has_stops and any(_has_room(*pair, width) for pair in pairwise(lines)):
        width = len(" ".join(lines))  # nothing here was wrapped
    return [_ends_item(*pair, width, is_list) for pair in pairwise(lines)]


def _ends_item(line: str, following: str, width: int, is_list: bool) -> bool:
    if _ITEM.match(following) or line.endswith((":", "：")):
        return True
    if line.endswith(_GOES_ON):
        return False
    return is_list if following[0].islower() else _has_room(line, following, width)


def _has_room(line: str, following: str, width: int) -> bool:
    """Whether the next line's first word could have stood on this line."""
    if following[0].islower() or line.endswith(_GOES_ON):
        return False
    needed = len(line) + 1 + len(following.split()[0])
    return width < NARROW_COLUMNS or needed <= FULL_SHARE * width


def _split_line(piece: str) -> list[str]:
    """Cut before each mark in "1. The first 2. The second" or "• One • Two"."""
    cuts, seen, has_more = [0], 0, False  # has_more: than bullets behind the last cut
    expected: tuple[str, str] | None = None
    beginning = len(piece) - len(piece.lstrip(_BLANK))
    for match in _MARK.finditer(piece):
        number, style, bullet = match.groups()
        is_first = match.start() <= beginning
        is_next = (number, style) == expected
        has_more = has_more or bool(piece[seen : match.start()].strip(_BLANK))
        seen = match.start()
        if (bullet or is_next) and has_more:
            cuts.append(seen)
            has_more = False
        if is_next or (is_first and not bullet):
            expected = (_next(number), style)
    return [piece[start:end] for start, end in pairwise([*cuts, len(piece)])]


def _next(number: str) -> str:
    return str(int(number) + 1) if number.isdecimal() else chr(ord(number) + 1)
