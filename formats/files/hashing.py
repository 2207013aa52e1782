"""Hashes of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

PIECE_BYTES = 256 * 1024


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    digest, piece = hashlib.sha256(), memoryview(bytearray(PIECE_BYTES))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(piece):
            digest.update(piece[:size])
    return digest.hexdigest()
