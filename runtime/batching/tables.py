"""Tables of texts: JSON lines, CSV, Parquet, or plain text with a text a line.

In: a file. Out: rows. Columns: `text`; if there are any, `id`, `voice` and `seed`; others are not
looked at. Rows without ids are called by their numbers.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from commands.errors import UserError
from formats.files.text_files import read_lines, read_text
from runtime.batching.text_rows import TextRow, check_rows
from runtime.speech.sampling import MAX_SEED

NUMBER_DIGITS = 6  # of ids that are numbers: their files are then sorted like the rows
Numbered = Iterator[tuple[str, int, Mapping[str, Any]]]  # where, number, columns


def read_table(path: Path) -> list[TextRow]:
    """All rows of a table, checked.

    Raises:
        UserError: no such file, an unknown ending, a row that is none, two rows with one id.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise UserError(f"{path}: is no table; give {', '.join(_READERS)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    rows = check_rows(_make_row(where, number, columns) for where, number, columns in read(path))
    if not rows:
        raise UserError(f"{path}: has no rows; give at least one text")
    return rows


def _make_row(where: str, number: int, columns: Mapping[str, Any]) -> TextRow:
    text, voice, seed = columns.get("text"), columns.get("voice"), columns.get("seed")
    if not isinstance(text, str):
        raise UserError(f"{where}: has no text in a column `text`")
    if voice is not None and not isinstance(voice, str):
        raise UserError(f"{where}: voice is {voice!r}; give the name of a voice")
    return TextRow(
        where, _id(where, number, columns.get("id")), text, voice or None, _seed(where, seed)
    )


def _id(where: str, number: int, given: object) -> str:
    if given is None:
        return f"{number:0{NUMBER_DIGITS}}"
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise UserError(f"{where}: id is {given!r}; give a text or a whole number")
    return str(given)


def _seed(where: str, given: object) -> int | None:
    if given is None or given == "":
        return None
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) < 20:
        given = int(given)  # CSV knows no numbers
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= MAX_SEED:
        raise UserError(f"{where}: seed is {given!r}; give a whole number from 0 to {MAX_SEED}")
    return given


def _read_txt(path: Path) -> Numbered:
    for number, line in read_lines(path):
        yield f"{path}, line {number}", number, {"text": line}


def _read_jsonl(path: Path) -> Numbered:
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        try:
            columns = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(f"{where}: is no JSON; give one object a line") from None
        if not isinstance(columns, dict):
            raise UserError(f'{where}: is no object; give {{"text": …}}')
        yield where, number, columns


def _read_csv(path: Path) -> Numbered:
    table = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        if "text" not in (table.fieldnames or ()):
            raise UserError(f"{path}: has no column `text`; name the columns in its first line")
        for number, columns in enumerate(table, 1):
            where = f"{path}, line {table.line_num}"
            if None in columns:
                raise UserError(f"{where}: has more columns than the first line; quote its commas")
            yield (
                where,
                number,
                {name: value or None for name, value in columns.items()}
                | {"text": columns["text"]},
            )
    except csv.Error as error:
        raise UserError(f"{path}, line {table.line_num}: is no CSV ({error})") from None


def _read_parquet(path: Path) -> Numbered:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            wanted = [n for n in ("id", "text", "voice", "seed") if n in file.schema_arrow.names]
            number = 0
            for batch in file.iter_batches(columns=wanted):
                for columns in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", number, columns
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: cannot be read ({error}); write it anew") from None


_READERS: dict[str, Callable[[Path], Numbered]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".txt": _read_txt,
}
