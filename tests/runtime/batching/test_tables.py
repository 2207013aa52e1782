"""Tables become rows: what is in them is data, whatever it looks like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.errors import UserError
from runtime.batching.tables import read_table
from runtime.batching.text_rows import TextRow
from runtime.speech.sampling import MAX_SEED

HOSTILE = ["../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "CON", "nul.txt", ".", "..", ".hidden"]
HOSTILE += ["", " ", "-rf", "a\nb", "ü", "x" * 500, "name.", "$(id)", "a:b", "manifest.jsonl\0"]


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_all_kinds_say_the_same(tmp_path: Path) -> None:
    lines = '{"id": "a", "text": "One, two.", "seed": 5}\n\n{"id": 7, "text": "B", "voice": "v"}\n'
    table = 'id,text,voice,seed,more\na,"One, two.",,5,x\n7,B,v,,\n'
    for path in (write(tmp_path, "t.jsonl", lines), write(tmp_path, "t.CSV", table)):
        one, other = read_table(path)
        assert (one.id, one.text, one.voice, one.seed) == ("a", "One, two.", None, 5)
        assert (other.id, other.text, other.voice, other.seed) == ("7", "B", "v", None)
    plain = read_table(write(tmp_path, "t.txt", "One.\n\n  Two, 2.  \n"))
    assert [(row.id, row.text) for row in plain] == [("000001", "One."), ("000003", "Two, 2.")]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"text": ["One.", None], "id": [3, 4], "seed": [None, 2], "other": [1.5, 2.5]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="row 2: has no text"):
        read_table(tmp_path / "t.parquet")
    columns["text"] = ["One.", "Two."]
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    rows = read_table(tmp_path / "t.parquet")
    assert [(row.id, row.text, row.seed) for row in rows] == [("3", "One.", None), ("4", "Two.", 2)]
    write(tmp_path, "t.parquet", "no table")
    with pytest.raises(UserError, match="cannot be read"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.xlsx", "", "is no table; give .jsonl, .csv, .parquet, .txt"),
        ("t.txt", " \n", "has no rows"),
        ("t.jsonl", "{", "line 1: is no JSON"),
        ("t.jsonl", "[" * 100_000, "line 1: is no JSON"),
        ("t.jsonl", '"text"', "line 1: is no object"),
        ("t.jsonl", '{"txt": "a"}', "line 1: has no text"),
        ("t.jsonl", '{"text": 5}', "line 1: has no text"),
        ("t.jsonl", '{"text": "a", "id": 1.5}', "id is 1.5; give a text or a whole number"),
        ("t.jsonl", '{"text": "a", "id": true}', "id is True"),
        ("t.jsonl", '{"text": "a", "id": ""}', "an id has 1 to 1000 characters"),
        ("t.jsonl", '{"text": "a", "seed": -1}', "seed is -1; give a whole number from 0"),
        ("t.jsonl", '{"text": "a", "voice": 3}', "voice is 3; give the name of a voice"),
        ("t.jsonl", r'{"text": "\ud800"}', "line 1: holds half a character"),
        ("t.csv", "a,b\n1,2\n", "has no column `text`"),
        ("t.csv", "id,text\n1,One, two.\n", "line 2: has more columns than the first line"),
        ("t.csv", 'id,text\n1,"One\n', "is no CSV"),
        ("t.csv", "text,seed\na,x\n", "seed is 'x'"),
    ],
)
def test_what_is_no_table_is_one_line(name: str, content: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said.replace("[", r"\[")) as raised:
        read_table(write(tmp_path, name, content))
    assert "\n" not in str(raised.value)


def test_equal_ids_are_refused(tmp_path: Path) -> None:
    def read(*ids: str | int) -> list[TextRow]:
        lines = "".join(json.dumps({"id": one, "text": "a"}) + "\n" for one in ids)
        return read_table(write(tmp_path, "t.jsonl", lines))

    with pytest.raises(UserError, match=r"line 3 and .*line 1: '1' and '1' have the same id"):
        read("1", "2", 1)
    with pytest.raises(UserError, match="'Ab' and 'aB' would be one file; give one of them"):
        read("aB", "Ab")
    assert len(read("a/b", "a_b", "a b", "a:b", "../a/b")) == 5


@given(st.one_of(st.sampled_from(HOSTILE), st.text()))
def test_every_id_is_a_safe_name_of_its_own(name: str) -> None:
    stem = TextRow("row", name, "").file_stem
    assert stem.isascii()
    assert len(stem) <= 100
    assert not {*stem} & {*'/\\:*?"<>| \n\0'}
    assert stem[0] not in ".-"
    assert stem[-1] != "."
    assert stem.partition(".")[0].upper() not in ("CON", "NUL", "AUX", "PRN", "COM1", "LPT1")
    assert stem != TextRow("row", name + "/", "").file_stem


@given(st.text(), st.integers(0, 2**70))
def test_a_seed_depends_on_the_row_alone(name: str, seed: int) -> None:
    drawn = TextRow("here", name, "text").with_seed(seed)
    assert 0 <= drawn <= MAX_SEED
    assert drawn == TextRow("there", name, "another", "voice").with_seed(seed)
    assert drawn != TextRow("here", name + "x", "text").with_seed(seed)
    assert TextRow("here", name, "text", seed=3).with_seed(seed) == 3
