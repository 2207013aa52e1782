"""Bundles that appear whole or not at all.

In: a folder that an export has filled and the manifest's text. Out: the bundle under its name,
in one rename; the bundle that was there before stays until then. It knows file names and the
manifest, but nothing about models.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from runtime.bundle import MANIFEST_FILE, Manifest, describe_file, encode_manifest
from runtime.errors import UserError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, None)  # None: numpy, when it could not write it all
_DIRECTORY_MODE = 0o755  # mkdtemp's is private


@contextmanager
def bundle_folder(output: str | Path) -> Iterator[Path]:
    """A temporary folder beside `output` to build in, gone at the end unless it was published.

    Raises:
        UserError: `output` is something that must not be replaced, its folder is missing, or
            the disk is full.
    """
    output = Path(output).resolve()
    _check_target(output)
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        yield folder
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise UserError(
                f"{output}: the disk is full; make room or choose another --output"
            ) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish_bundle(folder: Path, manifest: Manifest, output: str | Path) -> Manifest:
    """Complete `folder` with its manifest and rename it to `output`.

    The manifest gets the size and SHA-256 of every file in `folder`. Everything is on the disk
    before the rename.

    Raises:
        UserError: `output` has become something that must not be replaced.
        OSError: a full disk, no permission. In both cases `output` is as it was.
    """
    output = Path(output).resolve()
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    records = {path.relative_to(folder).as_posix(): describe_file(path) for path in paths}
    manifest = msgspec.structs.replace(manifest, files=records)
    (folder / MANIFEST_FILE).write_bytes(encode_manifest(manifest))
    for path in (*paths, folder / MANIFEST_FILE, folder):
        _flush(path)
    folder.chmod(_DIRECTORY_MODE)
    _check_target(output)
    _move_into_place(folder, output)
    _flush(output.parent)
    return manifest


def _check_target(output: Path) -> None:
    if not output.parent.is_dir():
        raise UserError(f"{output}: no folder {output.parent}; make it first")
    if output.exists() and not (output / MANIFEST_FILE).is_file():
        raise UserError(
            f"{output}: exists and is no bundle (no {MANIFEST_FILE}), so it is not replaced; "
            "remove it or choose another --output"
        )


def _move_into_place(folder: Path, output: Path) -> None:
    """Rename `folder` to `output`; a bundle already there steps aside and is then removed."""
    if not output.exists():
        folder.rename(output)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{output.name}-old-", dir=output.parent))
    try:
        output.rename(aside / output.name)
        folder.rename(output)
    except BaseException:
        if not output.exists():
            (aside / output.name).rename(output)
        raise
    finally:
        if output.exists():
            shutil.rmtree(aside, ignore_errors=True)


def _flush(path: Path) -> None:
    """Make the system write a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
