"""Lists of sentences: the files in samples/, and how they are read and named in reports.

In: a text file, one sentence a line. Out: `Sentence`s. Paths that a user types are relative to the
working folder. The default lists always come from this clone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from commands.errors import UserError
from formats.files.text_files import read_lines

CLONE = Path(__file__).parents[1]
DEFAULT_SENTENCES = CLONE / "samples" / "evaluation" / "everyday.txt"
DEFAULT_QUESTIONS = CLONE / "samples" / "demo_chat" / "test.jsonl"


@dataclass(frozen=True)
class Sentence:
    """`text` as people type it, which bundles get; `reading`: the words that should be heard."""

    text: str
    reading: str


def read_sentences(path: Path, limit: int | None = None) -> list[Sentence]:
    """The lines that are not empty and do not start with `#`.

    In the text, `\\n` is a line break. A tab and the reading follow the text where the two differ.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of sentences, one per line; give --sentences FILE")
    lines = (line for _, line in read_lines(path))
    sentences = [_parse_sentence(line) for line in lines if not line.startswith("#")]
    if not sentences:
        raise UserError(f"{path}: holds no sentences")
    return sentences[:limit]


def _parse_sentence(line: str) -> Sentence:
    text, _, reading = line.partition("\t")
    return Sentence(text.replace("\\n", "\n"), reading or text)


def describe_file(path: Path) -> str:
    """A file as reports name it: one of this clone relative to its root, any other as it is."""
    return path.relative_to(CLONE).as_posix() if path.is_relative_to(CLONE) else str(path)
