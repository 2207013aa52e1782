"""Speaker embeddings on disk: one rule for voices, token folders and bundles.

In: a safetensors file, or an embedding. Out: float32 [channels], or the file. The embedding is the
tensor "speaker", or else the only tensor of the file; axes of size 1 around it do not count. It
does not know how embeddings are made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from commands.errors import UserError
from formats.files.atomic import write_atomically

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
    embedding = _find_tensor(path).reshape(-1)
    if embedding.shape != (channels,) or not np.isfinite(embedding).all():
        raise UserError(f"{path}: must hold {channels} finite numbers")
    return np.ascontiguousarray(embedding, np.float32)


def _find_tensor(path: Path) -> NDArray[Any]:
    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a safetensors file of one embedding ({error})") from None
    if SPEAKER_TENSOR not in tensors and len(tensors) != 1:
        raise UserError(
            f"{path}: not a safetensors file of one embedding; it holds {len(tensors)} tensors, "
            f'none called "{SPEAKER_TENSOR}"'
        )
    found = tensors.get(SPEAKER_TENSOR, next(iter(tensors.values())))
    if found.dtype.kind == "i":
        raise UserError(f"{path}: holds whole numbers; a speaker embedding is of type float")
    return found


def write_speaker(path: Path, embedding: NDArray[Any]) -> None:
    """Write an embedding [channels] as float32. The file is also a voice for the runtime."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save({SPEAKER_TENSOR: np.ascontiguousarray(embedding, np.float32)}))
