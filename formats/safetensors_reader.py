"""Safetensors files read strictly, tensor by tensor, through a memory map.

In: one `.safetensors` file, or the index of a sharded checkpoint. Out: `StoredTensor`s by name.
Shapes and types come from the header, which is checked; data are read on demand. It does not know
which tensors a model needs. Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commands.errors import UserError
from formats.weights import Array

HEADER_LIMIT = 64 * 2**20
INDEX_LIMIT = 64 * 2**20
LENGTH_BYTES = 8
METADATA_KEY = "__metadata__"

_BFLOAT16 = "BF16"
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file. `read()` returns its values in the type that they are stored in."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    where: str
    read: Callable[[], Array]


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """All tensors of one file. Raises `UserError` if anything in its header is wrong."""
    header, data_start = _read_header(path)
    header.pop(METADATA_KEY, None)
    return {name: _stored_tensor(path, name, entry, data_start) for name, entry in header.items()}


def read_metadata(path: Path) -> dict[str, str]:
    """What the file says of itself. Raises `UserError` as `read_safetensors` does."""
    metadata = _read_header(path)[0].get(METADATA_KEY, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise UserError(f"{path}: has damaged metadata; download it again")
    return metadata


def read_sharded_safetensors(index: Path) -> dict[str, StoredTensor]:
    """All tensors of the shards that `index` (`model.safetensors.index.json`) names."""
    weight_map = _read_object(index, INDEX_LIMIT).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{index}: has no weight_map; download the checkpoint again")
    tensors: dict[str, StoredTensor] = {}
    for file in sorted({str(file) for file in weight_map.values()}):
        if Path(file).name != file or not (index.parent / file).is_file():
            raise UserError(f"{index}: names {file!r}, which is not a file beside it")
        tensors |= read_safetensors(index.parent / file)
    missing = weight_map.keys() - tensors.keys()
    if missing:
        raise UserError(f"{index}: no shard holds {min(missing)}; download the checkpoint again")
    return tensors


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """(entry by tensor name, offset of the data)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if not 2 <= length <= min(HEADER_LIMIT, size - LENGTH_BYTES):
            raise UserError(f"{path}: not a safetensors file, or truncated; download it again")
        header = _parse_object(file.read(length), path)
    return header, LENGTH_BYTES + length


def _stored_tensor(path: Path, name: str, entry: Any, data_start: int) -> StoredTensor:
    where = f"{path}: tensor {name}"
    shape, (begin, end), dtype = _checked_entry(entry, where)
    if not 0 <= begin <= end <= path.stat().st_size - data_start:
        raise UserError(f"{where} lies outside the file, which is truncated; download it again")
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise UserError(f"{where} has {end - begin} bytes, which does not fit shape {list(shape)}")

    def read() -> Array:
        if begin == end:  # an empty range cannot be mapped
            return np.zeros(shape, dtype)
        # Mapped again each time: pages that stay mapped would count as memory in use.
        return np.memmap(path, dtype, mode="r", offset=data_start + begin, shape=shape)

    return StoredTensor(name, dtype, shape, where, read)


def _checked_entry(
    entry: Any, where: str
) -> tuple[tuple[int, ...], tuple[int, int], np.dtype[Any]]:
    entry = entry if isinstance(entry, dict) else {}
    shape, offsets, dtype = (entry.get(key) for key in ("shape", "data_offsets", "dtype"))
    if not (_sizes(shape) and _sizes(offsets) and len(offsets) == 2):
        raise UserError(f"{where} has a damaged header entry; download the file again")
    return tuple(shape), (offsets[0], offsets[1]), _find_dtype(dtype, where)


def _find_dtype(name: Any, where: str) -> np.dtype[Any]:
    if name == _BFLOAT16:
        import ml_dtypes  # only where it is needed: devices that only speak do not have it

        return np.dtype(ml_dtypes.bfloat16)
    if name not in _DTYPES:
        supported = ", ".join((*_DTYPES, _BFLOAT16))
        raise UserError(f"{where} has type {name!r}; supported: {supported}")
    return _DTYPES[name]


def _sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _read_object(path: Path, limit: int) -> dict[str, Any]:
    if path.stat().st_size > limit:
        raise UserError(f"{path}: larger than {limit} bytes; download it again")
    return _parse_object(path.read_bytes(), path)


def _parse_object(content: bytes, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged JSON ({error}); download it again") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold a JSON object; download it again")
    return values
