"""Recordings from the file of metadata beside them.

In: `metadata.jsonl`, one JSON object a line (train/data/recordings.py has its keys), or
`metadata.csv` in the form of LJSpeech, `ID|TEXT|NORMALISED TEXT` without quotes or a header, with
the audio in `wavs/ID.wav` beside it (or FLAC, or without `wavs`). Out: `Recording`s, in the order
of the lines. Blank lines are skipped. It does not check whether the audio exists.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.errors import UserError
from formats.files.text_files import BYTE_ORDER_MARK, read_lines

METADATA_FILE, LJSPEECH_FILE = "metadata.jsonl", "metadata.csv"
AUDIO_SUFFIXES = (".wav", ".flac")
LJSPEECH_FOLDER = "wavs"
_LJSPEECH_COLUMNS = (2, 3)
_TEXT_KEYS = ("uttid", "text", "speaker", "phonemes")


@dataclass(frozen=True)
class Recording:
    """One audio file. `symbol_frames` counts the frames of silence, of each character of `phonemes`
    (of `text` if there are no phonemes), and of silence. `fault` says why its text is unusable."""

    path: Path
    uttid: str
    text: str | None = None
    speaker: str | None = None
    phonemes: str | None = None
    symbol_frames: tuple[int, ...] | None = None
    fault: str | None = None


def read_metadata(path: Path) -> list[Recording]:
    """The recordings that one `metadata.jsonl` describes. `UserError` names the line."""
    recordings = []
    for number, line in read_lines(path):
        try:
            recordings.append(_parse_metadata(json.loads(line), path.parent))
        except (ValueError, RecursionError, UserError) as error:
            raise UserError(f"{path}, line {number}: {error}") from None
    return recordings


def _parse_metadata(values: Any, folder: Path) -> Recording:
    if not isinstance(values, dict) or not isinstance(values.get("file"), str):
        raise UserError("must be a JSON object with the key 'file'")
    path = path_beside(folder, values["file"])
    for key in _TEXT_KEYS:
        if not isinstance(values.get(key), str | None):
            raise UserError(f"key {key!r} must be a string")
    if values.get("text"):  # the mark comes from the source file of the text
        values["text"] = values["text"].strip(BYTE_ORDER_MARK)
    return Recording(
        path=path,
        uttid=values.get("uttid") or path.stem,
        text=values.get("text"),
        speaker=values.get("speaker"),
        phonemes=values.get("phonemes"),
        symbol_frames=_parse_symbol_frames(values),
    )


def path_beside(folder: Path, name: str) -> Path:
    """The file `name` in `folder` or beneath it; it may be a link to anywhere. `UserError`."""
    path = Path(os.path.normpath(folder / name))
    inside = path.is_relative_to(os.path.normpath(folder)) and path != Path(folder)
    if "\0" in name or not inside:
        raise UserError(f"'file' must lie beside the metadata, not at {name!r}")
    return path


def _parse_symbol_frames(values: dict[str, Any]) -> tuple[int, ...] | None:
    counts = values.get("symbol_frames")
    if counts is None:
        return None
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise UserError("key 'symbol_frames' must be a list of frame counts")
    kind = "phonemes" if values.get("phonemes") else "characters"
    symbols = len(values.get("phonemes") or values.get("text") or "")
    if len(counts) != symbols + 2:
        raise UserError(f"key 'symbol_frames' must count silence, {symbols} {kind}, silence")
    return tuple(counts)


def read_ljspeech(path: Path) -> list[Recording]:
    """The recordings that one `metadata.csv` describes. `UserError` names the line."""
    recordings = []
    for number, line in read_lines(path):
        try:
            recordings.append(_parse_ljspeech(line, path.parent))
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
    return recordings


def _parse_ljspeech(line: str, folder: Path) -> Recording:
    name, *texts = (column.strip() for column in line.split("|"))
    if 1 + len(texts) not in _LJSPEECH_COLUMNS or not name:
        raise UserError(
            "must be ID|TEXT or ID|TEXT|NORMALISED TEXT, as in LJSpeech; rename the file if it is "
            "something else"
        )
    audio = _find_audio(folder, name)
    return Recording(audio, uttid=audio.stem, text=texts[-1] or texts[0])


def _find_audio(folder: Path, name: str) -> Path:
    """The file that exists; if there is none, its place in LJSpeech."""
    suffixes = ("",) if Path(name).suffix.lower() in AUDIO_SUFFIXES else AUDIO_SUFFIXES
    places = [
        path_beside(folder, f"{place}{name}{suffix}")
        for place in (f"{LJSPEECH_FOLDER}/", "")
        for suffix in suffixes
    ]
    return next((path for path in places if path.is_file()), places[0])
