"""Tables: Markdown that no cell can break, and columns that stand below each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.tables import markdown_head, markdown_row, markdown_table, text_table


def test_markdown() -> None:
    table = markdown_table(["engine", "KL"], [["int8", "0.01"], ["int4", "0.20"]])
    assert table == "| engine | KL |\n| --- | --- |\n| int8 | 0.01 |\n| int4 | 0.20 |\n"
    assert markdown_table(["none"], []) == "".join(markdown_head(["none"]))


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_no_cell_adds_a_line_or_a_column(cells: list[str]) -> None:
    row = markdown_row(cells)
    assert len(row.splitlines()) == 1
    assert row.replace(r"\|", "").count("|") == len(cells) + 1


def test_aligned_columns() -> None:
    table = text_table(["stage", "ms"], [["prompt", "12.5"], ["a step", "3.1"], ["日本", "100"]])
    assert table.splitlines() == [
        "stage     ms",
        "prompt  12.5",
        "a step   3.1",
        "日本     100",
    ]


def test_rows_have_as_many_cells_as_titles() -> None:
    for table in (markdown_table, text_table):
        with pytest.raises(AssertionError, match="other columns"):
            table(["one"], [["1", "2"]])
