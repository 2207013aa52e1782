"""Tensors of one safetensors file, for PyTorch."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file

from commands.errors import UserError
from formats.files.atomic import is_unicode_path


def read_tensor_file(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a file by name. Raises `UserError` if it is damaged."""
    try:
        # load_file needs less memory, but takes no path with a name that is not UTF-8.
        return load_file(path) if is_unicode_path(path) else load(path.read_bytes())
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file, or damaged ({error})") from None
