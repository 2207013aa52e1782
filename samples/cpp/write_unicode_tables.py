"""`python -m samples.cpp.write_unicode_tables`: write unicode_tables.h, for tokenizer.cpp.

In: the `tokenizers` package, asked about every code point, and Python's own Unicode data. Out:
which code points its regular expressions take for letters, numbers and white space, and how its NFC
composes. So the C++ program agrees with the package, whatever version of Unicode that has.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.run import run_command

TABLES = Path(__file__).parent / "unicode_tables.h"
CLASSES = {"kLetters": r"\p{L}", "kNumbers": r"\p{N}", "kSpaces": r"\s"}
POINTS = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)  # composed by rule
LATE_MARK = "\u0345"  # of combining class 240, the highest: all other marks go before it
LINE = 100


@cache
def normalizer(form: str) -> Callable[[str], str]:
    """NFC or NFD, as the package does it."""
    from tokenizers import normalizers

    normalize: Callable[[str], str] = getattr(normalizers, form)().normalize_str
    return normalize


def find_ranges(pattern: str) -> Iterator[tuple[int, int]]:
    """First and last of each run of code points that match."""
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Split(Regex(pattern), "removed")
    text = "".join(map(chr, POINTS))
    others = split.pre_tokenize_str(text)
    begin = 0
    for _, (first, last) in [*others, ("", (len(text), len(text)))]:
        if begin < first:
            yield from _runs(POINTS[begin:first])
        begin = last


def _runs(points: list[int]) -> Iterator[tuple[int, int]]:
    """Points in order; surrogates leave a gap."""
    first = points[0]
    for point, following in zip(points, [*points[1:], -1], strict=True):
        if following != point + 1:
            yield first, point
            first = following


def find_decompositions() -> Iterator[tuple[int, int, int]]:
    """(point, first part, second part or 0): one step of the canonical decomposition."""
    for point in POINTS:
        whole = normalizer("NFD")(chr(point))
        if point in HANGUL or whole == chr(point):
            continue
        head, last = normalizer("NFC")(whole[:-1]), whole[-1]
        if len(whole) > 1 and len(head) != 1:  # parts that NFC leaves apart
            parts = unicodedata.decomposition(chr(point)).split()
            head, last = chr(int(parts[0], 16)), chr(int(parts[1], 16))
        assert normalizer("NFD")(head + last if len(whole) > 1 else last) == whole, hex(point)
        yield (point, ord(head), ord(last)) if len(whole) > 1 else (point, ord(last), 0)


def find_compositions(decompositions: Iterable[tuple[int, int, int]]) -> Iterator[int]:
    """Points that NFC composes of their two parts."""
    for point, first, second in decompositions:
        if second and normalizer("NFC")(chr(first) + chr(second)) == chr(point):
            yield point


def find_marks() -> Iterator[tuple[int, int, int]]:
    """(first, last, combining class) of runs of marks that the package reorders."""
    marks = {}
    for point in POINTS:
        mark = chr(point)
        number = unicodedata.combining(mark)
        moves = mark != LATE_MARK and normalizer("NFD")(LATE_MARK + mark).endswith(LATE_MARK)
        if normalizer("NFD")(mark) != mark:
            continue
        assert number or not moves, f"this Python's Unicode is too old: {point:x}"
        if moves or mark == LATE_MARK:
            marks[point] = number
    run = [0, 0, 0]
    for point, number in marks.items():
        if run[1] + 1 == point and run[2] == number:
            run[1] = point
            continue
        if run[2]:
            yield run[0], run[1], run[2]
        run = [point, point, number]
    yield run[0], run[1], run[2]


def write_table(name: str, kind: str, rows: Iterable[tuple[int, ...]]) -> Iterator[str]:
    """A C++ array."""
    yield f"inline constexpr {kind} {name}[] = {{"
    line = "   "
    for row in rows:
        values = ", ".join(f"0x{value:x}" if value > 9 else str(value) for value in row)
        item = f" {{{values}}}," if len(row) > 1 else f" {values},"
        if len(line) + len(item) > LINE:
            yield line
            line = "   "
        line += item
    yield line
    yield "};"
    yield ""


def make_parser() -> CommandParser:
    return command_parser(
        "samples.cpp.write_unicode_tables", "Write what the C++ tokenizer has to know of Unicode."
    )


def run(arguments: argparse.Namespace) -> None:
    """Write unicode_tables.h beside this file."""
    decompositions = [*find_decompositions()]
    lines = [
        "// What tokenizer.cpp has to know of Unicode. Written by write_unicode_tables.py.",
        "#pragma once",
        "",
        "namespace unicode {",
        "",
        "struct Range { char32_t first, last; };",
        "struct Mark { char32_t first, last; int combining_class; };",
        "struct Decomposition { char32_t point, first, second; };",
        "",
    ]
    for name, pattern in CLASSES.items():
        lines += write_table(name, "Range", find_ranges(pattern))
    lines += write_table("kMarks", "Mark", find_marks())
    lines += write_table("kDecompositions", "Decomposition", decompositions)
    composed = ((point,) for point in find_compositions(decompositions))
    lines += write_table("kComposed", "char32_t", composed)
    lines += ["}  // namespace unicode", ""]
    TABLES.write_text("\n".join(lines), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
