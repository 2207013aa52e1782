"""Reads a file of packed weights back, for tests."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.native.layout import Layout
from export.native.weights import Formats, write_packed
from export.readers.checkpoint import Checkpoint, open_checkpoint
from export.readers.codec_checkpoint import CodecCheckpoint
from formats.safetensors_reader import StoredTensor, read_safetensors
from formats.weights import Array
from tests.export.lm_exports import Recipe, tiny_checkpoint


@dataclass(frozen=True)
class Packed:
    """tensors: by name. facts: of the metadata."""

    tensors: dict[str, StoredTensor]
    facts: dict[str, Any]

    def floats(self, name: str) -> Array:
        return np.array(self.tensors[name].read(), np.float32)

    def layout(self, name: str) -> Layout:
        entry = dict(self.facts["matrices"][name])
        entry.pop("gain", None)
        entry.pop("input_scale", None)
        return Layout(**entry)

    def rows(self, name: str) -> Array:
        """A matrix's values or codes (outputs, channels), or (outputs, taps, channels)."""
        layout = self.layout(name)
        stored = self.tensors[f"{name}.codes"]
        assert stored.shape == layout.codes_shape
        rows = layout.unpack_codes(np.array(stored.read()))
        return rows[:, 0] if layout.taps == 1 else rows

    def scales(self, name: str) -> Array:
        return self.layout(name).unpack_scales(np.array(self.tensors[f"{name}.scales"].read()))

    def bias(self, name: str) -> Array:
        """A matrix's bias; what fills it up must be zero."""
        bias, outputs = self.floats(f"{name}.bias"), self.layout(name).outputs
        assert len(bias) % 16 == 0
        assert not bias[outputs:].any()
        return bias[:outputs]


def read_packed(path: Path) -> Packed:
    header = read_header(path)
    return Packed(read_safetensors(path), json.loads(header["__metadata__"]["slm"]))


def read_header(path: Path) -> dict[str, Any]:
    """The header's JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    return header


def pack(folder: Path, checkpoint: Checkpoint, codec: CodecCheckpoint, formats: Formats) -> Packed:
    """Write the file of both models, with the text head, and read it back."""
    path = folder / "weights.safetensors"
    write_packed(path, checkpoint, codec, formats, with_text_head=True)
    return read_packed(path)


def opened(recipe: Recipe) -> Checkpoint:
    return open_checkpoint(tiny_checkpoint(recipe))


def values(checkpoint: Checkpoint, name: str) -> Array:
    return checkpoint.weight(name).read()


def layer_values(checkpoint: Checkpoint, source: str) -> dict[str, Array]:
    """What a layer's matrices must hold, by their names in the file."""

    def joined(*parts: str) -> Array:
        return np.concatenate([values(checkpoint, f"{source}.{part}.weight") for part in parts])

    return {
        "qkv": joined("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attention_output": joined("self_attn.o_proj"),
        "gate_up": joined("mlp.gate_proj", "mlp.up_proj"),
        "down": joined("mlp.down_proj"),
    }
