"""Files that appear whole or not at all.

In: a path, and its complete content or a caller that writes it. Out: the file, which is flushed to
the disk and then put in place by one rename. It does not know what the bytes mean.
`formats.files.folders` does the same for folders.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands.errors import UserError
from formats.files.work_folders import clear_abandoned, real_path, work_folder


def write_atomically(path: str | Path, content: bytes) -> None:
    """Put a file that holds `content` at `path`. A failure or Ctrl-C leaves `path` as it was.

    A link stays a link: its target is replaced. A pipe, /dev/null and other things that are not
    regular files are written to directly.

    Raises:
        UserError: the folder is missing, or `path` is a folder.
        OSError: a full disk, no permission.
    """
    check_target(path)
    if _is_no_file(path):
        Path(path).write_bytes(content)
        return
    target = real_path(path)
    # The name is short, because the target's may be as long as the system allows, and random,
    # because another process may be writing the same file.
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        partial.write_bytes(content)
        flush(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """`write_atomically` for text, in UTF-8."""
    write_atomically(path, text.encode())


def write_json(path: str | Path, values: Any) -> None:
    """`write_atomically` for plain values, as indented JSON for people and programs."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to. At the end, the file there becomes `path`, as with `write_atomically`.

    For large content, and for functions of other libraries that take a path. The next run removes
    what a killed process left.

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
        partial.chmod(mode)  # safetensors makes its files readable for their owner only
        flush(partial)
        partial.replace(target)


@contextmanager
def replacing_files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """A folder to write files called `names` in; at the end they move to `folder`, in this order.

    For files that name each other: the first move happens only when all are complete. They are not
    flushed, because `formats.files.folders.publish_folder` flushes a folder as a whole.
    """
    with work_folder(folder / names[-1]) as work:
        yield work
        for name in names:
            (work / name).replace(folder / name)


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
    """Refuse two paths to the same file, even if they are written differently.

    Raises:
        UserError: both are the same file.
    """
    if real_path(one) == real_path(other) and not _is_no_file(one):
        raise UserError(f"{one} and {other} are the same file; give one of them another name")


def require_unicode_path(path: str | Path) -> None:
    """Refuse a path that is not UTF-8, because inference engines and libsndfile cannot open it.

    Raises:
        UserError: a name of the path is not UTF-8.
    """
    if not is_unicode_path(path):
        shown = os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")
        raise UserError(f"{shown}: has a name that is not UTF-8; rename it")


def is_unicode_path(path: str | Path) -> bool:
    """Whether all names of the path, from the root on, are UTF-8. On Linux they need not be."""
    try:
        os.path.abspath(path).encode()
    except UnicodeEncodeError:  # Python puts surrogates in the place of other bytes
        return False
    return True


def flush(path: Path) -> None:
    """Write the content of a file, or (not on Windows) of a folder, to the disk."""
    # Windows flushes only files that are open for writing; elsewhere opening may not be allowed.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
