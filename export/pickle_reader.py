"""Pickled state dicts (`.bin`), read through torch's restricted unpickler.

In: a file that `torch.save` wrote. Out: `StoredTensor`s by name, as from safetensors. torch is
imported only here and only when such a file is met; nothing in the file can run code. It does
not know which tensors a model needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from export.safetensors_reader import StoredTensor
from export.weights import Array
from runtime.errors import UserError


def read_pickle(path: Path) -> dict[str, StoredTensor]:
    """All tensors of a pickled state dict.

    Raises:
        UserError: torch is not installed, or the file is not a plain state dict.
    """
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path}: pickled weights need torch to be read; install it, or convert the "
            "checkpoint to safetensors"
        ) from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # unpickling raises whatever the file provokes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a state dict that can be read safely ({reason})") from None
    if not isinstance(state, dict):
        raise UserError(f"{path}: must hold a state dict, not {type(state).__name__}")
    return {name: _stored_tensor(path, name, tensor) for name, tensor in state.items()}


def _stored_tensor(path: Path, name: Any, tensor: Any) -> StoredTensor:
    import torch

    if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
        raise UserError(f"{path}: entry {name!r} is not a tensor")
    is_float = tensor.is_floating_point()
    dtype = np.dtype(np.float32 if is_float else np.int64)

    def read() -> Array:
        return np.asarray((tensor.float() if is_float else tensor.long()).numpy())

    return StoredTensor(name, dtype, tuple(tensor.shape), f"{path}: tensor {name}", read)
