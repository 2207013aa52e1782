"""Folders that appear whole or not at all.

In: a folder that a command fills, and its final path. Out: the folder at that path. An older folder
there stays until then. Linux and macOS exchange the two in one step. Other systems, and file
systems that cannot do this, need two renames. If the process ends between them, the next run for
the same path first puts the old folder back. It does not know what folders hold.

The work is done in a hidden folder beside the path (`formats.files.work_folders`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from commands.errors import UserError
from formats.files.atomic import flush
from formats.files.work_folders import OLD, clear_abandoned, put_back, real_path, work_folder

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, None)  # None: numpy, when it could not write it all
_AT_WORKING_FOLDER, _EXCHANGE = -100, 2  # renameat2(2), and RENAME_SWAP of renamex_np(2)


@dataclass(frozen=True)
class FolderKind:
    """Which folders may be replaced: those that have a file `mark`. Without a mark, none may.

    `name` is for messages.
    """

    name: str
    mark: str | None = None


def check_own_folder(output: Path, name: str, mark: str) -> None:
    """Check that a command may write into `output`: a new or empty folder, or one of its own.

    name: what the command writes, for the message. mark: what each such folder has in it.

    Raises:
        UserError: `output` is a file, or a folder of something else.
    """
    if not output.exists() or (output / mark).exists():
        return
    if not output.is_dir() or any(output.iterdir()):
        raise UserError(
            f"{output}: exists and is no {name} (it has no {mark}), so nothing is written there; "
            "choose another folder"
        )


@contextmanager
def unpublished_folder(output: str | Path, kind: FolderKind) -> Iterator[Path]:
    """An empty folder to fill. It is removed at the end unless `publish_folder` put it in place.

    Raises:
        UserError: `output` must not be replaced, its folder is missing, or the disk is full.
    """
    output = real_path(output)
    if output.parent.is_dir():
        clear_abandoned(output)
    _check_output(output, kind)
    with work_folder(output) as work:
        folder = work / "new"
        folder.mkdir()
        try:
            yield folder
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise UserError(
                    f"{output}: the disk is full; make room or choose another --output"
                ) from error
            raise


def publish_folder(folder: Path, output: str | Path, kind: FolderKind) -> None:
    """Put a folder of `unpublished_folder` at `output`, after flushing all of it to the disk.

    Raises:
        UserError: `output` has become something that must not be replaced.
        OSError: a full disk, no permission. In both cases `output` is as it was.
    """
    output = real_path(output)
    for path in folder.rglob("*"):
        _flush(path)
    _flush(folder)
    _check_output(output, kind)
    _put_in_place(folder, output)
    _flush(output.parent)


def _check_output(output: Path, kind: FolderKind) -> None:
    if not output.parent.is_dir():
        raise UserError(f"{output}: no folder {output.parent}; make it first")
    if output.exists() and (kind.mark is None or not (output / kind.mark).is_file()):
        why = f"exists and is no {kind.name} (no {kind.mark})" if kind.mark else "exists"
        raise UserError(
            f"{output}: {why}, so it is not replaced; remove it or choose another --output"
        )


def _put_in_place(folder: Path, output: Path) -> None:
    if not output.exists():
        folder.rename(output)
    elif not _exchange(folder, output):
        _replace_in_two_steps(folder, output, folder.parent / OLD)


def _replace_in_two_steps(folder: Path, output: Path, old: Path) -> None:
    try:
        output.rename(old)
        folder.rename(output)
    except BaseException:
        put_back(old, output)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or the file system cannot."""
    if sys.platform == "win32":
        return False
    system = ctypes.CDLL(None)
    paths = os.fsencode(one), os.fsencode(other)
    if hasattr(system, "renameat2"):
        here = _AT_WORKING_FOLDER
        return bool(system.renameat2(here, paths[0], here, paths[1], _EXCHANGE) == 0)
    if hasattr(system, "renamex_np"):
        return bool(system.renamex_np(*paths, _EXCHANGE) == 0)
    return False


def _flush(path: Path) -> None:
    """Write a file's content, or a folder's entries, to the disk."""
    if path.is_symlink():
        return
    if path.is_file() or sys.platform != "win32":  # Windows writes the entries of folders by itself
        flush(path)
