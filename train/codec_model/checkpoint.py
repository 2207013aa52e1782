"""Load and save the codec, strictly.

In: a folder in the published layout (`ns3_facodec_encoder_v2.bin` and
`ns3_facodec_decoder_v2.bin`, pickled state dicts) or in this project's (`codec.json` and
`codec.safetensors`). Out: a `FACodec` in evaluation mode. Pickles cannot run code, and the names
of wrappers are removed (`formats.checkpoint.state_dicts`). Modules that only training needs are
skipped by name. Every other tensor must be there in its shape, and no other may be.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from commands.errors import UserError
from formats.checkpoint.codec_config import (
    CODEC_CONFIG_FILE,
    CODEC_WEIGHTS_FILE,
    PUBLISHED_FILES,
    find_codec_config,
)
from formats.checkpoint.state_dicts import plain_names, read_state_dict
from formats.files.atomic import replacing, write_atomically
from train.codec_model.facodec import FACodec
from train.tensor_files import read_tensor_file

TRAINING_ONLY = tuple(
    f"decoder.{name}."
    for name in (
        "f0_predictor",
        "phone_predictor",
        "res_f0_predictor",
        "res_phone_predictor",
        "content_f0_predictor",
        "prosody_phone_predictor",
        "x_timbre_predictor",
    )
)
_POSITION_TABLE = ".position_emb.pe"
_LISTED_PROBLEMS = 5


def load_codec(folder: Path) -> FACodec:
    """The codec of a folder in either layout. Raises `UserError` naming file and tensor."""
    folder = Path(folder)
    config = find_codec_config(folder)
    if (folder / CODEC_CONFIG_FILE).is_file():
        path = folder / CODEC_WEIGHTS_FILE
        if not path.is_file():
            raise UserError(f"{path}: not found; it belongs beside {CODEC_CONFIG_FILE}")
        tensors = read_tensor_file(path)
    else:
        path, tensors = folder, read_published(folder)
    codec = FACodec(config)
    load_strictly(codec, tensors, path)
    return codec.eval()


def read_published(folder: Path) -> dict[str, torch.Tensor]:
    """The two pickled state dicts as one, with keys `encoder.…` and `decoder.…`."""
    tensors: dict[str, torch.Tensor] = {}
    for part, name in PUBLISHED_FILES.items():
        for key, tensor in read_state_dict(folder / name).items():
            tensors[f"{part}.{key}"] = tensor
    return tensors


def load_strictly(codec: FACodec, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Fill `codec` with `tensors`. Raises `UserError` naming what is missing or misshapen."""
    wanted = codec.state_dict()
    given = _fold_weight_norm(_drop_unused(plain_names(tensors, str(path))), path)
    problems = [f"{key} is missing" for key in wanted if key not in given]
    problems += [f"{key} is unknown" for key in given if key not in wanted]
    for key in wanted.keys() & given.keys():
        ours, theirs = tuple(wanted[key].shape), tuple(given[key].shape)
        if ours != theirs:
            problems.append(f"{key} has shape {list(theirs)}, not {list(ours)}")
        elif not given[key].isfinite().all():
            problems.append(f"{key} holds numbers that are not finite")
    if problems:
        more = f" and {len(problems) - _LISTED_PROBLEMS} more" * (len(problems) > _LISTED_PROBLEMS)
        raise UserError(f"{path}: {'; '.join(sorted(problems)[:_LISTED_PROBLEMS])}{more}")
    codec.load_state_dict({key: tensor.float() for key, tensor in given.items()})


def _drop_unused(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without training-only modules, and with the one row of position tables that is used."""
    kept = {key: t for key, t in tensors.items() if not key.startswith(TRAINING_ONLY)}
    return {key: t[:1] if key.endswith(_POSITION_TABLE) else t for key, t in kept.items()}


def _fold_weight_norm(tensors: dict[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """`weight_g` and `weight_v` become `weight` = g v / |v|, the norm per first-axis slice."""
    folded = {key: t for key, t in tensors.items() if not key.endswith(("weight_g", "weight_v"))}
    for key in tensors:
        if not key.endswith("weight_v"):
            continue
        name = key.removesuffix("_v")
        gain, direction = tensors.get(name + "_g"), tensors[key].float()
        if gain is None:
            raise UserError(f"{path}: {name}_g is missing")
        if gain.numel() != len(direction):
            raise UserError(f"{path}: {name}_g has shape {list(gain.shape)}")
        gain = gain.float().reshape(-1, *[1] * (direction.dim() - 1))
        folded[name] = gain * direction / direction.flatten(1).norm(dim=1).reshape(gain.shape)
    return folded


def save_codec(codec: FACodec, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write `codec.json` and `codec.safetensors`, each whole or not at all.

    `dtype` is the weights' type. Quantizers, mel analysis and filters stay float32: they are small,
    and because looked-up vectors are normalised, rounded codebooks cost more quality than all other
    rounded weights together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key: tensor.contiguous() for key, tensor in codec.state_dict().items()}
    for name, weight in codec.named_parameters():
        if not is_kept_exact(name):
            tensors[name] = weight.detach().to(dtype).contiguous()
    write_atomically(folder / CODEC_WEIGHTS_FILE, save(tensors))
    write_atomically(folder / CODEC_CONFIG_FILE, codec.config.to_json().encode())


def is_kept_exact(name: str) -> bool:
    """Whether the parameter is always stored as float32."""
    return name.startswith("decoder.quantizer.")


def save_training_state(state: dict[str, Any], path: Path) -> None:
    """Write what a resumed training needs; it appears complete or not at all."""
    with replacing(path) as partial:
        torch.save(state, partial)


def load_training_state(path: Path) -> dict[str, Any]:
    """Read it again, as all pickles, with `weights_only=True`."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); delete it to begin this phase again"
        ) from None
