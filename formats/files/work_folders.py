"""Hidden folders in which files and folders are made before they are put in place.

In: the final path. Out: a folder beside that path, which is locked as long as its process lives.
The next run for the same path removes folders that killed processes left, because they are not
locked. It does not touch those of running processes. It does not know what is made.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

OLD = "old"  # in a work folder: what was at the path, while it is being replaced
_LOCK = "lock"
_ATTEMPTS = 3  # to lock a work folder before another process takes it for abandoned


def real_path(path: str | Path) -> Path:
    """The target of a link, which is replaced while the link stays."""
    return Path(os.path.realpath(path))


@contextmanager
def work_folder(output: Path) -> Iterator[Path]:
    """An empty folder beside `output`, which is removed at the end with its content."""
    work, lock = _make_locked(output)
    try:
        yield work
    finally:
        if lock is not None:
            lock.close()
        if output.exists() or not (work / OLD).exists():  # else the next run puts it back
            shutil.rmtree(work, ignore_errors=True)


def _make_locked(output: Path) -> tuple[Path, BinaryIO | None]:
    """A new work folder and its lock; no lock if the file system has none."""
    for _ in range(_ATTEMPTS):
        work = Path(tempfile.mkdtemp(prefix=_prefix(output), dir=output.parent))
        lock = try_lock(work / _LOCK)
        if lock is not None and (work / _LOCK).exists():
            return work, lock
    work.mkdir(exist_ok=True)
    return work, None


def clear_abandoned(output: Path) -> None:
    """Remove the work folders for `output` of processes that have ended.

    If such a process had moved the old folder away and not replaced it, it is put back.
    """
    name = re.compile(re.escape(_prefix(output)) + "[a-z0-9_]{8}")  # as mkdtemp makes them
    for work in [path for path in output.parent.iterdir() if name.fullmatch(path.name)]:
        lock = try_lock(work / _LOCK)
        if lock is None:
            continue
        with lock:  # held until all is removed: its owner may have made it just now
            put_back(work / OLD, output)
            shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)  # on Windows, where an open lock stays


def _prefix(output: Path) -> str:
    return f".{output.name}.unfinished-"


def try_lock(path: Path) -> BinaryIO | None:
    """Lock a file until it is closed or the process ends; None if another holds it."""
    try:
        file = path.open("ab")
    except OSError:  # no longer there, or another user's
        return None
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def put_back(old: Path, output: Path) -> None:
    """Undo a replacement that was interrupted."""
    if old.is_dir() and not output.exists():
        old.rename(output)
