"""The folders of recordings that a command line names: `FOLDER` or `NAME=FOLDER`.

In: arguments. Out: recordings. If a NAME is given, it is put before their names, so that folders
whose recordings have the same names can be used together. train/data/recordings.py knows what is in
a folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from commands.errors import UserError
from train.data.recordings import Recording, find_recordings

ARGUMENT_HELP = "folders of recordings; NAME=FOLDER puts NAME before the recordings' names"


@dataclass(frozen=True)
class RecordingFolder:
    """A folder, and what is put before the names of its recordings, if anything."""

    path: Path
    name: str | None = None

    @property
    def group(self) -> str:
        """Its name among several folders."""
        return self.name or self.path.resolve().name

    def find(self) -> list[Recording]:
        """Its recordings. Raises `UserError`."""
        found = find_recordings(self.path)
        if self.name is None:
            return found
        return [replace(recording, uttid=f"{self.name}-{recording.uttid}") for recording in found]


def parse_folder(argument: str) -> RecordingFolder:
    """An argument's type. An existing folder is taken as it is, even with = in its path."""
    name, mark, folder = argument.partition("=")
    if Path(argument).is_dir() or not mark:
        return RecordingFolder(Path(argument))
    if not is_file_name(name):
        raise argparse.ArgumentTypeError(f"{name!r} cannot be a file name; write NAME=FOLDER")
    return RecordingFolder(Path(folder), name)


def is_file_name(name: str) -> bool:
    """Whether every system accepts `name` as a file name."""
    return bool(name) and not name.startswith(".") and not set(name) & set("/\\\0")


def check_names(recordings: Sequence[Recording]) -> None:
    """Raise `UserError` unless all names are file names and differ."""
    seen: dict[str, Path] = {}
    for recording in recordings:
        for name in (recording.uttid, recording.speaker or "unknown"):
            if not is_file_name(name):
                raise UserError(f"{recording.path}: {name!r} cannot be a file name")
        other = seen.get(recording.uttid)
        if other is not None:
            raise UserError(
                f"{recording.path}: {other} has the same name, {recording.uttid!r}; "
                "name the folders, as in one=FOLDER two=FOLDER, or give each an 'uttid'"
            )
        seen[recording.uttid] = recording.path
