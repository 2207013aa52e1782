"""Speaker embeddings on disk: one rule for voices, token folders and bundles.

In: a safetensors file, or an embedding. Out: float32 [channels], or the file. The embedding is the
tensor "speaker", or the only tensor of the file. Axes of size 1 are ignored. It does not know how
embeddings are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from formats.files.atomic import write_atomically
from formats.safetensors_reader import StoredTensor, read_safetensors

SPEAKER_TENSOR = "speaker"
SUFFIX = ".safetensors"
MAX_BYTES = 1024 * 1024  # an embedding is much smaller


def read_speaker(path: Path, channels: int) -> NDArray[np.float32]:
    """The embedding in a file, float32 [channels].

    Raises:
        UserError: no such file, another kind of file, or other numbers.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; a speaker embedding is a {SUFFIX} file")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES} bytes, so it is no speaker embedding")
    stored = _find_tensor(path)
    embedding = np.array(stored.read(), np.float32).reshape(-1)
    if embedding.shape != (channels,):
        raise UserError(f"{path}: must hold {channels} finite numbers, not {list(stored.shape)}")
    if not np.isfinite(embedding).all():
        raise UserError(f"{path}: must hold {channels} finite numbers, but some are NaN or inf")
    return embedding


def _find_tensor(path: Path) -> StoredTensor:
    tensors = read_safetensors(path)
    if SPEAKER_TENSOR not in tensors and len(tensors) != 1:
        raise UserError(
            f"{path}: not a safetensors file of one embedding; it holds {len(tensors)} tensors, "
            f'none called "{SPEAKER_TENSOR}"'
        )
    stored = tensors.get(SPEAKER_TENSOR, next(iter(tensors.values())))
    if stored.dtype.kind == "i":
        raise UserError(f"{path}: holds whole numbers; a speaker embedding is of type float")
    return stored


def write_speaker(path: Path, embedding: NDArray[Any]) -> None:
    """Write an embedding [channels] as float32. The file is also a voice for the runtime."""
    from safetensors.numpy import save  # whoever only speaks needs it not

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save({SPEAKER_TENSOR: np.ascontiguousarray(embedding, np.float32)}))
