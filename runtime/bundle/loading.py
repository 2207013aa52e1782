"""The bundle: the directory that an export leaves and a runtime loads.

In: a folder with `manifest.json`, graphs, `tokenizer.json`, the embedding table and voices. Out:
its `Manifest`, and paths of files whose sizes and hashes were checked.
"""

from __future__ import annotations

import os
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from commands.errors import UserError
from formats.files.atomic import require_unicode_path
from formats.files.hashing import sha256_file
from runtime.bundle.contract import check_manifest
from runtime.bundle.manifest import FileRecord, GraphSpec, Manifest, read_manifest
from runtime.bundle.names import MANIFEST_FILE


class Bundle:
    """A checked bundle on disk: `manifest`, and `path(file)` for each file it lists."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def path(self, file: str) -> Path:
        """Absolute path of a listed file; `KeyError` if the manifest does not list it."""
        self.manifest.files[file]
        return self.folder / file

    def graph(self, name: str) -> GraphSpec:
        """The graph called `name`, or `UserError` if this bundle was built without it."""
        if name not in self.manifest.graphs:
            have = ", ".join(sorted(self.manifest.graphs))
            raise UserError(f"{self.folder}: has no {name} graph (it has {have}); export it again")
        return self.manifest.graphs[name]


def load_bundle(folder: str | Path) -> Bundle:
    """Read and check a bundle directory.

    The schema, numbers that must fit each other, paths, sizes and SHA-256 hashes are checked before
    any other library opens a file.

    Raises:
        UserError: not a bundle, a newer schema, one that contradicts itself, a file missing,
            changed or outside the folder.
    """
    folder = Path(folder)
    require_unicode_path(folder.resolve())
    manifest = read_manifest(folder)
    check_manifest(manifest, str(folder / MANIFEST_FILE))
    _check_references(folder, manifest)
    # Hashing large files takes seconds, so it runs in parallel. Threads beyond the processors would
    # cost memory for nothing.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for checked in [
            pool.submit(_check_file, folder, file, record)
            for file, record in manifest.files.items()
        ]:
            checked.result()
    return Bundle(folder.resolve(), manifest)


def describe_file(path: Path) -> FileRecord:
    """Size and hash of a file that goes into a bundle."""
    return FileRecord(size_bytes=path.stat().st_size, sha256=sha256_file(path))


_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def _check_references(folder: Path, manifest: Manifest) -> None:
    missing = [file for file in manifest.referenced_files() if file not in manifest.files]
    if missing:
        raise UserError(f"{folder / MANIFEST_FILE}: no hash for {missing[0]}; export again")


def _check_file(folder: Path, file: str, record: FileRecord) -> None:
    if not all(_SAFE_NAME.fullmatch(part) for part in file.split("/")):
        raise UserError(f"{folder / MANIFEST_FILE}: unsafe file name {file!r}; export again")
    path = folder / PurePosixPath(file)
    if path.is_symlink() or any(parent.is_symlink() for parent in _parents_below(folder, path)):
        copy = shlex.join(["cp", "-rL", str(folder), "DIR"])
        raise UserError(
            f"{path}: is a link, as in a hub's cache; a bundle holds plain files only: "
            f"copy it with: {copy}"
        )
    if not path.is_file():
        raise UserError(f"{path}: missing from the bundle; export again")
    size = path.stat().st_size
    if size != record.size_bytes:
        raise UserError(
            f"{path}: {size} bytes instead of {record.size_bytes}; copy or export again"
        )
    if sha256_file(path) != record.sha256:
        raise UserError(f"{path}: content differs from its hash; copy or export again")


def _parents_below(folder: Path, path: Path) -> list[Path]:
    return [parent for parent in path.parents if folder in parent.parents]
