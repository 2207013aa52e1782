"""Files that appear whole or not at all.

In: a path and its complete content, or a function's own way of writing it. Out: the file, on the
disk and then put in place by one rename. It does not know what the bytes mean. Folders:
`formats.files.folders`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands.errors import UserError
from formats.files.work_folders import clear_abandoned, real_path, work_folder


def write_atomically(path: str | Path, content: bytes) -> None:
    """Put a file that holds `content` at `path`; a failure or Ctrl-C leaves `path` as it was.

    A link stays a link: the file that it leads to is replaced. What is no file, such as a pipe or
    /dev/null, is written to directly.

    Raises:
        UserError: the folder is missing, or `path` is a folder.
        OSError: a full disk, no permission.
    """
    check_target(path)
    if _is_no_file(path):
        Path(path).write_bytes(content)
        return
    target = real_path(path)
    # Short, because a name may be as long as the system allows; its own, because somebody else may
    # be writing the same file.
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        partial.write_bytes(content)
        flush(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` at the end, as by `write_atomically`.

    For what is large, or is written by a function of another library. What a killed process left
    of it is removed by the next run.

    Raises:
        UserError: the folder is missing, or `path` is a folder.
        OSError: a full disk, no permission.
    """
    check_target(path)
    if _is_no_file(path):
        yield Path(path)
        return
    target = real_path(path)
    clear_abandoned(target)
    with work_folder(target) as work:
        partial = work / "new"
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # safetensors lets nobody but the owner read what it writes
        flush(partial)
        partial.replace(target)


def _is_no_file(path: str | Path) -> bool:
    path = Path(path)
    return path.exists() and not path.is_file()


def check_target(path: str | Path) -> None:
    """Refuse a path that cannot become a file, before the work for its content is done.

    Raises:
        UserError: the folder is missing, or `path` is a folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"{path}: no folder {path.parent}; make it first")
    target = real_path(path)
    if not target.parent.is_dir():  # of a link
        raise UserError(
            f"{path}: leads to {target}, but there is no folder {target.parent}; make it first"
        )
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")


def require_two_files(one: str | Path, other: str | Path) -> None:
    """Refuse to write two things into the same file, whatever it is called.

    Raises:
        UserError: both are the same file.
    """
    if real_path(one) == real_path(other) and not _is_no_file(one):
        raise UserError(f"{one} and {other} are the same file; give one of them another name")


def require_unicode_path(path: str | Path) -> None:
    """Refuse a path with names that are not UTF-8: inference engines and libsndfile open none.

    Raises:
        UserError: it has such a name.
    """
    if not is_unicode_path(path):
        shown = os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")
        raise UserError(f"{shown}: has a name that is not UTF-8; rename it")


def is_unicode_path(path: str | Path) -> bool:
    """Whether all names of the path, from the root on, are UTF-8, as they need not be on Linux."""
    try:
        os.path.abspath(path).encode()
    except UnicodeEncodeError:  # Python has put surrogates in place of other bytes
        return False
    return True


def flush(path: Path) -> None:
    """Have the system write what a file or (not on Windows) a folder holds to the disk."""
    # Windows flushes only what is open for writing; elsewhere that may not be allowed.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
