"""Files that appear whole or not at all.

In: a path and its complete content. Out: the file, put in place by one rename. It does not know
what the bytes mean.
"""

from __future__ import annotations

from pathlib import Path

from runtime.errors import UserError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write `content` beside `path` and rename it; a failure or Ctrl-C leaves `path` as it was.

    Raises:
        UserError: the folder is missing, or `path` is a folder.
        OSError: a full disk, no permission.
    """
    path = Path(path)
    check_target(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
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
