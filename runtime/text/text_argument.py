"""The text that a command line names: the words themselves, a text file, or standard input.

In: the argument. Out: the text, without codes for terminals. It does not know whether the text can
be spoken (`runtime.text.typed_text`).
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import BinaryIO

from commands.errors import UserError
from runtime.text.typed_text import MAX_TEXT_BYTES, drop_terminal_codes

STANDARD_INPUT = "-"
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINE_BREAK = b"\r\n"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # text that can be converted, although it holds zeros
NO_TEXT = (b"%PDF-", b"{\\rtf", b"%!PS", b"PK\x03\x04", b"\x1f\x8b", b"\x89PNG", b"\xff\xd8\xff")
_SENTENCE_SIGNS = re.compile(r"[,;:!?\"]|\.\s|\n")  # rare in the name of a file


def read_text_argument(argument: str) -> str:
    """The text of a file if there is one of that name, of standard input for `-`, or the argument.

    A byte order mark and the line break at the end of a file are removed, nothing else. Codes for
    terminals, such as colours, are removed from any text.

    Raises:
        UserError: a folder, or a file that is missing, too large, not text, or not UTF-8 encoded.
    """
    if argument == STANDARD_INPUT:
        return drop_terminal_codes(_decode(sys.stdin.buffer, "standard input"))
    if os.path.isdir(argument):  # False for text of any length
        raise UserError(f"{argument}: is a folder; name a text file, or say more than its name")
    if os.path.exists(argument):
        with Path(argument).open("rb") as file:
            return drop_terminal_codes(_decode(file, argument))
    if argument.lower().endswith(TEXT_SUFFIXES) and not _SENTENCE_SIGNS.search(argument):
        raise UserError(f"{argument}: no such text file; text to speak ends with a full stop")
    return drop_terminal_codes(argument)


def _decode(file: BinaryIO, where: str) -> str:
    """The text of a file, of which no more is read than can be spoken."""
    content = file.read(len(BYTE_ORDER_MARK) + MAX_TEXT_BYTES + len(LINE_BREAK) + 1)
    content = content.removeprefix(BYTE_ORDER_MARK).removesuffix(b"\n").removesuffix(b"\r")
    if content.startswith(NO_TEXT) or (b"\0" in content and not content.startswith(UTF_16)):
        raise UserError(f"{where}: is not text; name a text file")
    if len(content) > MAX_TEXT_BYTES:
        raise UserError(f"{where}: the limit is {MAX_TEXT_BYTES} bytes; cut it up")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{where}: is not UTF-8 text; convert it") from None
