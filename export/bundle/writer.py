"""Bundles that appear whole or not at all.

In: a folder that an export has filled, and a manifest without hashes. Out: the bundle at its path;
an older bundle there stays until then (`formats.files.folders`). It knows file names and the
manifest, but nothing about models.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from formats.files.atomic import require_unicode_path
from formats.files.folders import FolderKind, publish_folder, unpublished_folder
from runtime.bundle.loading import describe_file
from runtime.bundle.manifest import Manifest, encode_manifest
from runtime.bundle.names import MANIFEST_FILE

BUNDLE = FolderKind("bundle", MANIFEST_FILE)


def bundle_folder(output: str | Path) -> AbstractContextManager[Path]:
    """A temporary folder beside `output` to build in. It is removed unless it was published.

    Raises:
        UserError: `output` must not be replaced or has a name that engines cannot open, its parent
            folder is missing, or the disk is full.
    """
    require_unicode_path(Path(output).resolve())
    return unpublished_folder(output, BUNDLE)


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Complete `folder` with its manifest, so that it can be loaded.

    The manifest gets the size and SHA-256 of every file in `folder`. Raises `OSError`.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    names.pop(MANIFEST_FILE, None)
    records = {name: describe_file(path) for name, path in names.items()}
    manifest = msgspec.structs.replace(manifest, files=records)
    (folder / MANIFEST_FILE).write_bytes(encode_manifest(manifest))
    return manifest


def publish_bundle(folder: Path, manifest: Manifest, output: str | Path) -> Manifest:
    """Complete `folder` with its manifest and put it at `output`.

    All files are on the disk before the bundle appears.

    Raises:
        UserError: `output` has become something that must not be replaced.
        OSError: a full disk, no permission. In both cases `output` is as it was.
    """
    manifest = write_manifest(folder, manifest)
    publish_folder(folder, output, BUNDLE)
    return manifest
