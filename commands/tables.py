"""Tables of cells that are already text: Markdown for reports, aligned columns for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

GAP = "  "  # between aligned columns


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, one line for each row; it ends with a line break."""
    assert all(len(row) == len(titles) for row in rows), "a row has other columns than the titles"
    return "".join([*markdown_head(titles), *map(markdown_row, rows)])


def markdown_head(titles: Sequence[str]) -> list[str]:
    """The first two lines of a Markdown table, for rows that follow one by one."""
    return [markdown_row(titles), markdown_row(["---"] * len(titles))]


def markdown_row(cells: Sequence[str]) -> str:
    """One line of a Markdown table. A bar or a line break inside a cell does not end it."""
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |\n"


def text_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others, which hold figures, to the right."""
    assert all(len(row) == len(titles) for row in rows), "a row has other columns than the titles"
    lines = [list(titles), *map(list, rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    return "".join(_align(line, widths).rstrip() + "\n" for line in lines)


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    padding = [" " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)]
    first, *others = cells
    return GAP.join(
        [first + padding[0], *(pad + cell for pad, cell in zip(padding[1:], others, strict=True))]
    )


def _width(text: str) -> int:
    """Columns of a terminal: East Asian wide signs take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )


def _escape(cell: str) -> str:
    return " ".join(cell.splitlines()).replace("|", r"\|")
