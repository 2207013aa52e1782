"""State dicts of any training code: pickles, and tensor names.

In: files that `torch.save` wrote, and tensors whose names have prefixes of module wrappers. Out:
tensors under their plain names. Pickles are read through torch's restricted unpickler, so nothing
in them can run code. torch is imported only if there is a pickle. It does not know which tensors a
model needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from commands.errors import UserError
from formats.files.atomic import is_unicode_path

if TYPE_CHECKING:
    import torch

PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
_SHARD = re.compile(r"pytorch_model-(\d+)-of-(\d+)\.bin")

# Prefixes that torch.compile, (Distributed)DataParallel, FSDP, activation checkpointing and
# Lightning Fabric give to the names of wrapped modules.
_WRAPPERS = frozenset(
    ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
)
_WEIGHT_NORM = re.compile(r"(^|\.)parametrizations\.(\w+)\.original([01])$")
_ADAPTER = re.compile(r"(^|\.)(lora_\w+|base_layer)\.")
_ZIP = b"PK\x03\x04"

T = TypeVar("T")


def plain_names(tensors: Mapping[str, T], where: str) -> dict[str, T]:
    """The tensors by name, without wrappers. Weight norm's are `weight_g` and `weight_v`.

    Raises:
        UserError: two tensors have the same plain name, or adapters are not merged.
    """
    plain: dict[str, T] = {}
    for name, tensor in tensors.items():
        if _ADAPTER.search(name):
            raise UserError(f"{where}: tensor {name} is an adapter's; {MERGE}")
        short = _plain_name(name)
        if short in plain:
            raise UserError(f"{where}: holds two tensors {short}, one of them as {name}")
        plain[short] = tensor
    return plain


MERGE = (
    "merge it into its base model and export that: "
    "PeftModel.from_pretrained(base, DIR).merge_and_unload().save_pretrained(MERGED)"
)


def _plain_name(name: str) -> str:
    short = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
    return _WEIGHT_NORM.sub(lambda found: f"{found[1]}{found[2]}_{'gv'[int(found[3])]}", short)


def find_pickles(folder: Path) -> list[Path]:
    """The pickled weights of a checkpoint, whole or in shards; an empty list if there are none.

    Raises:
        UserError: a shard is missing.
    """
    if (folder / PICKLE).is_file():
        return [folder / PICKLE]
    if (folder / PICKLE_INDEX).is_file():
        return [folder / name for name in _indexed(folder / PICKLE_INDEX)]
    shards = {path: _SHARD.fullmatch(path.name) for path in sorted(folder.glob("*.bin"))}
    found = {path: (int(m[1]), int(m[2])) for path, m in shards.items() if m}
    for _, count in found.values():
        missing = set(range(1, count + 1)) - {number for number, _ in found.values()}
        if missing:
            raise UserError(f"{folder}: shard {min(missing)} of {count} of {PICKLE} is missing")
    return [*found]


def _indexed(index: Path) -> list[str]:
    """Names of the shards in an index, each a file beside it."""
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{index}: not an index with a 'weight_map'") from None
    for name in names:
        plain = isinstance(name, str) and Path(name).name == name
        if not plain or not (index.parent / name).is_file():
            raise UserError(f"{index}: names {name!r}, which is not a file beside it")
    return sorted(names)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a pickled state dict, on the CPU.

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
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=_can_be_mapped(path))
    except Exception as error:  # unpickling raises whatever the file provokes
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "unreadable"
        raise UserError(f"{path}: not a state dict that can be read safely ({reason})") from None
    if not isinstance(state, dict):
        raise UserError(f"{path}: must hold a state dict, not {type(state).__name__}")
    for name, tensor in state.items():
        _check_entry(path, state, name, tensor)
    return {name: tensor.detach() for name, tensor in state.items()}


def _can_be_mapped(path: Path) -> bool:
    """torch cannot map pickles of its old format, nor files whose name is not UTF-8."""
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP and is_unicode_path(path)


def _check_entry(path: Path, state: dict[Any, Any], name: Any, tensor: Any) -> None:
    import torch

    if isinstance(name, str) and isinstance(tensor, torch.Tensor):
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise UserError(f"{path}: tensor {name} is sparse or quantized; save it as floats")
        return
    for key, inner in state.items():
        if isinstance(inner, dict) and any(isinstance(v, torch.Tensor) for v in inner.values()):
            raise UserError(
                f"{path}: holds a whole training state, its weights under {key!r}; save them "
                f"alone: torch.save(torch.load(FILE)[{key!r}], FILE)"
            )
    raise UserError(f"{path}: entry {name!r} is not a tensor")
