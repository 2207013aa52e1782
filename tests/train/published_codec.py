"""Checkpoints in FACodec's published layout, filled by a formula.

The values depend only on the tensors' names and shapes, so the original implementation, filled
in the same way, gives numbers to compare with (golden_facodec.json).
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import torch
from torch import nn

from formats.checkpoint.codec_config import PUBLISHED_FILES
from train.codec_model.facodec import FACodec
from train.codec_model.vector_quantizer import VectorQuantizer

CONSTANTS = ("filter", "pe", "mel_basis", "hann_window")


def formula(name: str, shape: torch.Size) -> torch.Tensor:
    """Values of the tensor `name`, without its prefix `encoder.` or `decoder.`."""
    count = math.prod(shape)
    phase = zlib.crc32(name.encode()) % 1000
    waves = torch.sin(0.7 * torch.arange(count, dtype=torch.float64) + phase).reshape(shape)
    if name.endswith("weight_g") or (name.endswith("weight") and len(shape) == 1):
        values = 0.8 + 0.1 * waves  # gains, and layer norms
    elif len(shape) == 1:
        values = 0.2 * waves  # biases, alpha and beta
    else:
        values = waves * math.sqrt(2 / math.prod(shape[1:]))
    return values.float()


def published_state(codec: FACodec) -> dict[str, dict[str, torch.Tensor]]:
    """The state dicts "encoder" and "decoder" with weight norm and a training-only module."""
    normed = {
        name
        for name, module in codec.named_modules()
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d) and ".ffn." not in name
    }
    for name, module in codec.named_modules():
        if isinstance(module, VectorQuantizer):
            normed |= {f"{name}.in_proj", f"{name}.out_proj"}
    if codec.config.content_encoder == "mel":
        normed = {name for name in normed if not name.startswith("encoder.")}
    state: dict[str, dict[str, torch.Tensor]] = {"encoder": {}, "decoder": {}}
    for key, tensor in codec.state_dict().items():
        part, name = key.split(".", 1)
        if name.endswith(CONSTANTS):
            state[part][name] = tensor
        elif key.removesuffix(".weight") in normed:
            gains = torch.Size([len(tensor), *[1] * (tensor.dim() - 1)])
            state[part][name + "_g"] = formula(name + "_g", gains)
            state[part][name + "_v"] = formula(name + "_v", tensor.shape)
        else:
            state[part][name] = formula(name, tensor.shape)
    state["decoder"]["phone_predictor.heads.0.weight"] = torch.zeros(5, 4)
    return state


def write_published(folder: Path, state: dict[str, dict[str, torch.Tensor]]) -> Path:
    for part, name in PUBLISHED_FILES.items():
        torch.save(state[part], folder / name)
    return folder
