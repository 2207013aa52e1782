"""Find recordings in a folder, with their metadata.

In: a folder in one of three forms. `metadata.jsonl` files anywhere beneath it, each describing
audio files beside it, one JSON object a line:

    {"file": "000042.flac", "uttid": …, "text": …, "speaker": …, "phonemes": …, "symbol_frames": …}

(only "file" is required); `metadata.csv` files as LJSpeech has them, or both; or a LibriTTS-style
tree: WAV or FLAC files with their text in `NAME.normalized.txt` or `NAME.txt` beside them. Hidden
files and folders (`._x.wav`, `.cache`) are ignored, links are followed. Out: `Recording`s in a
fixed order. It knows neither audio nor speech tokens.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from commands.errors import UserError
from formats.files.text_files import read_text
from train.data.recording_metadata import (
    AUDIO_SUFFIXES,
    LJSPEECH_FILE,
    METADATA_FILE,
    Recording,
    read_ljspeech,
    read_metadata,
)

TEXT_SUFFIXES = (".normalized.txt", ".txt")
_LIBRITTS_NAME = re.compile(r"(\d+)_\d+_\d+_\d+")


def find_recordings(folder: Path) -> list[Recording]:
    """All recordings beneath `folder`, sorted by path. If two of them have the same name, the name
    of their folder is put before all names.

    Raises:
        UserError: there are none, or their metadata are faulty.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of recordings")
    files = sorted(walk_files(folder))
    described = [path for path in files if path.name in (METADATA_FILE, LJSPEECH_FILE)]
    if described:
        _refuse_two_descriptions(described)
        readers = {METADATA_FILE: read_metadata, LJSPEECH_FILE: read_ljspeech}
        found = [recording for path in described for recording in readers[path.name](path)]
    else:
        found = [_describe_file(path) for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    if not found:
        raise UserError(f"{folder}: {_describe_nothing(files)}")
    return _with_different_names(found, folder)


def walk_files(folder: Path) -> Iterator[Path]:
    """All files beneath `folder`, except hidden ones; linked folders are included."""
    for parent, folders, files in os.walk(folder, followlinks=True):
        here = Path(parent)
        folders[:] = [name for name in folders if not name.startswith(".") and _ends(here / name)]
        yield from (here / name for name in files if not name.startswith("."))


def _ends(folder: Path) -> bool:
    """Whether the folder is not a link to one of its own parents."""
    return not (folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve()))


def _refuse_two_descriptions(files: Sequence[Path]) -> None:
    folders = [path.parent for path in files]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UserError(
                f"{folder}: holds both {METADATA_FILE} and {LJSPEECH_FILE}; rename the one that "
                "is not to be read"
            )


def _describe_nothing(files: Sequence[Path]) -> str:
    """Why none of `files` is a recording."""
    others = [path for path in files if path.suffix.lower() in (".mp3", ".ogg", ".opus", ".m4a")]
    wanted = f"neither {METADATA_FILE} nor {LJSPEECH_FILE} nor WAV or FLAC files"
    if not others:
        return f"holds {wanted}"
    return (
        f"holds {wanted}, but {len(others)} such as {others[0].name}; "
        f"convert them: ffmpeg -i {others[0].name} -ac 1 {others[0].stem}.wav"
    )


def _with_different_names(found: list[Recording], folder: Path) -> list[Recording]:
    """`anna/0001.wav` and `bert/0001.wav` become anna-0001 and bert-0001. Names that differ already
    stay as they are."""
    if len({recording.uttid for recording in found}) == len(found):
        return found
    named = [
        replace(recording, uttid="-".join((*_folder_parts(recording, folder), recording.uttid)))
        for recording in found
    ]
    if len({recording.uttid for recording in named}) < len(named):
        return found  # two in one folder: `check_names` refuses them
    print(
        f"{folder}: recordings in different folders have one name, so the folder is put before "
        f"each name, such as {named[0].uttid}",
        file=sys.stderr,
    )
    return named


def _folder_parts(recording: Recording, folder: Path) -> tuple[str, ...]:
    return recording.path.parent.relative_to(folder).parts


def _describe_file(path: Path) -> Recording:
    name = _LIBRITTS_NAME.fullmatch(path.stem)
    text, fault = None, None
    for suffix in TEXT_SUFFIXES:
        text_path = path.with_name(path.stem + suffix)
        if text_path.is_file():
            try:
                text = read_text(text_path).strip()
            except UserError as error:  # the recording is left out, the others are used
                fault = str(error)
            break
    return Recording(path, path.stem, text, speaker=name[1] if name else None, fault=fault)


def explain_missing(path: Path) -> str | None:
    """Why the file `path`, which was found or described, cannot be opened; None if it can."""
    if path.is_file():
        return None
    if path.is_symlink():
        return f"{path}: is a link to {os.readlink(path)}, which does not exist; replace the link"
    if path.exists():
        return f"{path}: is not a file"
    return f"{path}: is in the metadata, but does not exist"
