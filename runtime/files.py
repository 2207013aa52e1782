"""Files that appear whole or not at all.

In: a path and its complete content, or a function's own way of writing it. Out: the file, on the
disk and then put in place by one rename. It does not know what the bytes mean. Two processes that
write the same path at the same time are not kept apart. Folders: `runtime.folders`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import UserError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Put a file that holds `content` at `path`; a failure or Ctrl-C leaves `path` as it was.

    Raises:
        UserError: the folder is missing, or `path` is a folder.
        OSError: a full disk, no permission.
    """
    with replacing(path) as partial:
        partial.write_bytes(content)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` at the end, unless something fails.

    A link stays a link: the file that it leads to is replaced. What is no file, such as a pipe or
    /dev/null, is written to directly.

    Raises:
        UserError: the folder is missing, or `path` is a folder.
        OSError: a full disk, no permission.
    """
    check_target(path)
    target = Path(path)
    if target.exists() and not target.is_file():
        yield target
        return
    target = Path(os.path.realpath(target))
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)  # of a process that was killed
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # safetensors lets nobody but the owner read what it writes
        flush(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def check_target(path: str | Path) -> None:
    """Refuse a path that cannot become a file, before the work for its content is done.

    Raises:
        UserError: the folder is missing, or `path` is a folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"{path}: no folder {path.parent}; make it first")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")


def flush(path: Path) -> None:
    """Have the system write what a file or (not on Windows) a folder holds to the disk."""
    # Windows flushes only what is open for writing; elsewhere that may not be allowed.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
