"""Find recordings in a folder, with what is known about them.

In: a folder in one of two forms. Either `metadata.jsonl` files anywhere beneath it, each
describing audio files beside it, one JSON object a line:

    {"file": "000042.flac", "uttid": …, "text": …, "speaker": …, "phonemes": …, "symbol_frames": …}

(only "file" is required), or a LibriTTS-style tree: WAV or FLAC files with their text in
`NAME.normalized.txt` or `NAME.txt` beside them. Out: `Recording`s in a fixed order.
Knows nothing of audio and of speech tokens.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import UserError

METADATA_FILE = "metadata.jsonl"
AUDIO_SUFFIXES = (".wav", ".flac")
TEXT_SUFFIXES = (".normalized.txt", ".txt")
_LIBRITTS_NAME = re.compile(r"(\d+)_\d+_\d+_\d+")
_TEXT_KEYS = ("uttid", "text", "speaker", "phonemes")


@dataclass(frozen=True)
class Recording:
    """One audio file. `symbol_frames` counts the frames of: silence, each character of
    `phonemes` (of `text`, if there are no phonemes), silence."""

    path: Path
    uttid: str
    text: str | None = None
    speaker: str | None = None
    phonemes: str | None = None
    symbol_frames: tuple[int, ...] | None = None


def find_recordings(folder: Path) -> list[Recording]:
    """All recordings beneath `folder`, sorted by path. Raises `UserError` when there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of recordings")
    metadata_files = sorted(folder.rglob(METADATA_FILE))
    if metadata_files:
        found = [recording for path in metadata_files for recording in read_metadata(path)]
    else:
        paths = (path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
        found = [_describe_file(path) for path in sorted(paths)]
    if not found:
        raise UserError(f"{folder}: holds neither {METADATA_FILE} nor WAV or FLAC files")
    return found


def read_metadata(path: Path) -> list[Recording]:
    """The recordings that one `metadata.jsonl` describes. `UserError` names the line."""
    recordings = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            recordings.append(_parse_metadata(json.loads(line), path.parent))
        except (ValueError, UserError) as error:
            raise UserError(f"{path}, line {number}: {error}") from None
    return recordings


def _parse_metadata(values: Any, folder: Path) -> Recording:
    if not isinstance(values, dict) or not isinstance(values.get("file"), str):
        raise UserError("must be a JSON object with the key 'file'")
    path = folder / values["file"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"'file' must lie beside the metadata, not at {values['file']!r}")
    for key in _TEXT_KEYS:
        if not isinstance(values.get(key), str | None):
            raise UserError(f"key {key!r} must be a string")
    return Recording(
        path=path,
        uttid=values.get("uttid") or path.stem,
        text=values.get("text"),
        speaker=values.get("speaker"),
        phonemes=values.get("phonemes"),
        symbol_frames=_parse_symbol_frames(values),
    )


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


def _describe_file(path: Path) -> Recording:
    name = _LIBRITTS_NAME.fullmatch(path.stem)
    for suffix in TEXT_SUFFIXES:
        text_path = path.with_name(path.stem + suffix)
        if text_path.is_file():
            text = text_path.read_text(encoding="utf-8").strip()
            break
    else:
        text = None
    return Recording(path, uttid=path.stem, text=text, speaker=name[1] if name else None)
