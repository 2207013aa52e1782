"""Writes `weights.safetensors`, tensor by tensor, aligned so that it can be mapped.

In: tensors whose sizes are known and whose data are made when their turn comes, and facts about the
model. Out: a file. One tensor, or a block of one, is in memory at a time. It knows no models.
Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from formats.safetensors_reader import LENGTH_BYTES, METADATA_KEY
from formats.weights import Array, Weight

DATA_ALIGNMENT, TENSOR_ALIGNMENT = 4096, 64  # bytes
FACTS_KEY = "slm"  # of the model's facts in the file's metadata
PADDING = "padding.{number}"
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "U8": 1}


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file.

    dtype: what safetensors calls it. blocks: makes the data, as arrays that follow each other.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    blocks: Callable[[], Iterable[Array]]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


def float_tensor(name: str, weight: Weight, dtype: str = "F32") -> Tensor:
    """A weight as it is, in float32 or float16."""
    stored = {"F32": "<f4", "F16": "<f2"}[dtype]
    return Tensor(name, dtype, weight.shape, lambda: [weight.read().astype(stored)])


def write_weights(path: Path, tensors: Sequence[Tensor], facts: Mapping[str, Any]) -> None:
    """Write all tensors in this order, and `facts` as JSON into the metadata."""
    padded = list(_with_padding(tensors))
    with path.open("wb") as file:
        file.write(_header(padded, facts))
        for tensor in padded:
            _write(file, tensor)


def _with_padding(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """The tensors, and behind those that need it one of zeros, so that the next one is aligned."""
    paddings = 0
    for tensor in tensors:
        yield tensor
        if missing := -tensor.size_bytes % TENSOR_ALIGNMENT:
            yield _zeros(PADDING.format(number=paddings), missing)
            paddings += 1


def _zeros(name: str, size_bytes: int) -> Tensor:
    return Tensor(name, "U8", (size_bytes,), lambda: [np.zeros(size_bytes, np.uint8)])


def _header(tensors: Iterable[Tensor], facts: Mapping[str, Any]) -> bytes:
    entries: dict[str, Any] = {METADATA_KEY: {FACTS_KEY: json.dumps(facts)}}
    offset = 0
    for tensor in tensors:
        end = offset + tensor.size_bytes
        assert tensor.name not in entries, tensor.name
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(LENGTH_BYTES + len(text)) % DATA_ALIGNMENT)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _write(file: BinaryIO, tensor: Tensor) -> None:
    written = 0
    for block in tensor.blocks():
        written += file.write(np.ascontiguousarray(block).data.cast("B"))
    assert written == tensor.size_bytes, f"{tensor.name}: {written} of {tensor.size_bytes} bytes"
