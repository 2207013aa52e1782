"""Pickled state dicts (`.bin`) as `StoredTensor`s, like those of safetensors.

In: a file that `torch.save` wrote. Out: its tensors by name. torch is imported only when such a
file is read (`formats.checkpoint.state_dicts`). It does not know which tensors a model needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from formats.checkpoint.state_dicts import read_state_dict
from formats.safetensors_reader import StoredTensor
from formats.weights import Array

if TYPE_CHECKING:
    import torch

_KEPT = {  # types that stay as they are; all others become float32 or int64
    "torch.float16": np.dtype(np.float16),
    "torch.bfloat16": np.dtype(ml_dtypes.bfloat16),
}


def read_pickle(path: Path) -> dict[str, StoredTensor]:
    """All tensors of a pickled state dict.

    Raises:
        UserError: torch is not installed, or the file is not a plain state dict.
    """
    state = read_state_dict(path)
    return {name: _stored_tensor(path, name, tensor) for name, tensor in state.items()}


def _stored_tensor(path: Path, name: str, tensor: torch.Tensor) -> StoredTensor:
    other = np.dtype(np.float32 if tensor.is_floating_point() else np.int64)
    dtype = _KEPT.get(str(tensor.dtype), other)

    def read() -> Array:
        wide = tensor.float() if tensor.is_floating_point() else tensor.long()
        return np.asarray(wide.numpy()).astype(dtype, copy=False)

    return StoredTensor(name, dtype, tuple(tensor.shape), f"{path}: tensor {name}", read)
