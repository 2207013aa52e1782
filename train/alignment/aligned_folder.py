"""Recordings with the durations of their symbols, in a new folder; the originals stay untouched.

In: recordings and durations. Out: a folder with one folder for each folder of recordings, under the
same name: `metadata.jsonl` files, and the audio as hard links (as copies where the file system
has none). It appears whole or not at all. It does not know how durations are found.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from commands.errors import UserError
from formats.files.folders import FolderKind, publish_folder, unpublished_folder
from train.data.recording_folders import RecordingFolder
from train.data.recordings import METADATA_FILE, Recording

ALIGNED = FolderKind("folder of aligned recordings")


@dataclass(frozen=True)
class AlignedRecording:
    """`symbol_frames` counts silence, each of `characters`, silence; None: not aligned."""

    recording: Recording
    characters: str | None
    symbol_frames: tuple[int, ...] | None


def check_output(output: Path, folders: Sequence[RecordingFolder]) -> None:
    """Raise `UserError` for an output that is not empty, or lies within the recordings."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: exists; name another output, or remove it")
    for folder in folders:
        if output.resolve().is_relative_to(folder.path.resolve()):
            raise UserError(f"{output}: lies within the recordings in {folder.path}; name another")
    names = [folder.group for folder in folders]
    if len(set(names)) != len(names):
        raise UserError(
            "two folders of recordings have the same name; name them, as in one=FOLDER two=FOLDER"
        )


def write_aligned_folder(
    output: Path, recordings: Mapping[RecordingFolder, Sequence[AlignedRecording]], phonemes: bool
) -> None:
    """Write `output`. `phonemes`: the characters are phonemes, not those of the text."""
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.is_dir():
        output.rmdir()  # empty, as check_output has seen
    with unpublished_folder(output, ALIGNED) as partial:
        for folder, group in recordings.items():
            _write_group(partial / folder.group, folder.path, group, phonemes)
        publish_folder(partial, output, ALIGNED)


def _write_group(
    target: Path, folder: Path, group: Sequence[AlignedRecording], phonemes: bool
) -> None:
    lines: dict[Path, list[str]] = defaultdict(list)
    for aligned in group:
        path = target / aligned.recording.path.relative_to(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        _link(aligned.recording.path, path)
        lines[path.parent].append(json.dumps(_describe(aligned, phonemes), ensure_ascii=False))
    for parent, found in lines.items():
        (parent / METADATA_FILE).write_text("\n".join(found) + "\n", encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    """Give the file another name. Two lines of metadata may name one file."""
    if target.exists() or not source.is_file():
        return
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _describe(aligned: AlignedRecording, phonemes: bool) -> dict[str, object]:
    """A line of metadata; unknown values are left out."""
    recording = aligned.recording
    values = {
        "file": recording.path.name,
        "uttid": recording.uttid,
        "speaker": recording.speaker,
        "text": recording.text if phonemes or aligned.characters is None else aligned.characters,
        "phonemes": aligned.characters if phonemes else None,
        "symbol_frames": aligned.symbol_frames,
    }
    return {key: value for key, value in values.items() if value is not None}
