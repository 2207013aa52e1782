"""Text files of users: UTF-8, with or without a byte-order mark.

In: a file. Out: its text, or its lines with their numbers. A file in another encoding is refused
with the command that converts it. Lines end only at line breaks. Characters such as U+2028, at
which `str.splitlines` splits, may be part of a text. It does not know what the lines mean.
"""

from __future__ import annotations

import codecs
import shlex
from collections.abc import Iterator
from pathlib import Path

from commands.errors import UserError

BYTE_ORDER_MARK = "\ufeff"
_MARKED = (  # the longer marks begin with the shorter ones
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_LOOKED_AT = 4096  # bytes that show the encoding


def read_text(path: Path) -> str:
    """The whole text, line breaks as "\\n". Raises `UserError` naming line and encoding."""
    return "".join(line for _, line in _read(path))


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, stripped of white space, with their numbers from 1.

    Raises `UserError` naming the line and the encoding, if that is not UTF-8.
    """
    for number, line in _read(path):
        if line.strip():
            yield number, line.strip()


def _read(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if not _is_text(line):
                raise UserError(f"{path}, line {number}: {_diagnose(path)}")
            yield number, line


def _is_text(line: str) -> bool:
    """Whether the line was UTF-8: other bytes became surrogates, and UTF-16 has zeros."""
    if "\0" in line:
        return False
    if line.isascii():
        return True
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _diagnose(path: Path) -> str:
    encoding = _guess_encoding(path)
    if encoding is None:
        return "is not text"
    command = f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))} > converted"
    return f"is not UTF-8 but probably {encoding}; convert it: {command}"


def _guess_encoding(path: Path) -> str | None:
    """The probable encoding of a file that is not UTF-8; None if it is probably no text."""
    with path.open("rb") as content:
        start = content.read(_LOOKED_AT)
    for mark, encoding in _MARKED:
        if start.startswith(mark):
            return encoding
    odd, even = start[1::2].count(0), start[::2].count(0)
    if max(odd, even) > len(start) // 8:
        return "UTF-16LE" if odd > even else "UTF-16BE"
    return None if 0 in start else "WINDOWS-1252"  # it includes the letters of Latin-1
