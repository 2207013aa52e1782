"""A codec's weights. Safetensors are opened without torch.

In: a directory with `codec.json` and `codec.safetensors`, or the published pair
`ns3_facodec_encoder_v2.bin` and `ns3_facodec_decoder_v2.bin`, pickles that need torch. Out: a
`CodecCheckpoint`. Names and shapes of its weights are checked at once. Weight norm is folded when
they are read. Names are the published ones (FACodec, arXiv 2403.03100) after "encoder." and
"decoder.", with or without prefixes of wrappers (`formats.checkpoint.state_dicts`). It knows
nothing about ONNX.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from commands.errors import UserError
from export.readers.codec_tensors import expected_shapes
from export.readers.pickle_reader import read_pickle
from formats.checkpoint.codec_config import (
    CODEC_CONFIG_FILE,
    CODEC_WEIGHTS_FILE,
    PUBLISHED_FILES,
    CodecConfig,
    find_codec_config,
)
from formats.checkpoint.state_dicts import plain_names
from formats.safetensors_reader import StoredTensor, read_safetensors
from formats.weights import Array, Weight

_NOT_NEEDED = re.compile(  # training-only modules, residual codes, a constant table
    r"decoder\.(\w*f0_predictor|\w*phone_predictor|x_timbre_predictor|quantizer\.2)\..*"
    r"|.*\.position_emb\.pe"
)


@dataclass(frozen=True)
class CodecCheckpoint:
    """Config and weights of one codec."""

    folder: Path
    config: CodecConfig
    tensors: Mapping[str, StoredTensor]

    def weight(self, name: str) -> Weight:
        """A tensor as float32, weight norm folded."""
        stored = self.tensors.get(name)
        if stored is not None:
            return Weight(name, stored.shape, lambda: _as_float32(stored))
        magnitude, direction = self.tensors[f"{name}_g"], self.tensors[f"{name}_v"]
        return Weight(name, direction.shape, lambda: _fold(magnitude.read(), direction.read()))

    def vector(self, name: str) -> Array:
        """A small tensor's values, float32."""
        return self.weight(name).read()


def open_codec(folder: str | Path) -> CodecCheckpoint:
    """Open a codec directory and check every tensor's name and shape.

    Raises:
        UserError: a file is missing or damaged, or a tensor is missing, misshapen or unexpected.
    """
    folder = Path(folder)
    config = find_codec_config(folder)
    own_layout = (folder / CODEC_CONFIG_FILE).is_file()
    return make_codec(folder, config, (_read_weights if own_layout else _read_published)(folder))


def make_codec(
    folder: Path, config: CodecConfig, tensors: Mapping[str, StoredTensor]
) -> CodecCheckpoint:
    """Check the tensors that inference needs; returns a codec of them. folder: for messages."""
    plain = plain_names(tensors, str(folder))
    needed = {name: tensor for name, tensor in plain.items() if not _NOT_NEEDED.fullmatch(name)}
    _check_tensors(folder, config, needed)
    return CodecCheckpoint(folder, config, needed)


def _read_weights(folder: Path) -> dict[str, StoredTensor]:
    path = folder / CODEC_WEIGHTS_FILE
    if not path.is_file():
        raise UserError(f"{path}: not found; it belongs beside {CODEC_CONFIG_FILE}")
    return read_safetensors(path)


def _read_published(folder: Path) -> dict[str, StoredTensor]:
    tensors = {}
    for part, file in PUBLISHED_FILES.items():
        for name, tensor in read_pickle(folder / file).items():
            tensors[f"{part}.{name}"] = tensor
    return tensors


def _check_tensors(folder: Path, config: CodecConfig, tensors: Mapping[str, StoredTensor]) -> None:
    expected = dict(expected_shapes(config))
    unexpected = tensors.keys() - _found_names(expected, tensors)
    for name, shape in expected.items():
        found = tensors.get(name) or tensors.get(f"{name}_v")
        if found is None or (name not in tensors and f"{name}_g" not in tensors):
            raise UserError(f"{folder}: tensor {name} is missing from the codec's weights")
        if found.shape != shape:
            raise UserError(f"{found.where} has shape {list(found.shape)}, not {list(shape)}")
        if found.dtype.kind in "iu":
            raise UserError(f"{found.where} holds integers ({found.dtype}), not weights")
        if name not in tensors:
            _check_magnitude(tensors[f"{name}_g"], shape)
    if unexpected:
        raise UserError(f"{tensors[min(unexpected)].where} is unexpected for this codec")


def _found_names(
    expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, StoredTensor]
) -> set[str]:
    return {
        name
        for base in expected
        for name in ((base,) if base in tensors else (f"{base}_g", f"{base}_v"))
    }


def _check_magnitude(magnitude: StoredTensor, shape: tuple[int, ...]) -> None:
    expected = (shape[0], *(1 for _ in shape[1:]))
    if magnitude.shape != expected:
        raise UserError(
            f"{magnitude.where} has shape {list(magnitude.shape)}, not {list(expected)}"
        )


def _fold(magnitude: Array, direction: Array) -> Array:
    """Weight norm: g · v / ‖v‖, the norm over all axes but the first."""
    v = np.asarray(direction, np.float64)
    norm = np.sqrt((v * v).sum(axis=tuple(range(1, v.ndim)), keepdims=True))
    return (np.asarray(magnitude, np.float64) * v / norm).astype(np.float32)


def _as_float32(stored: StoredTensor) -> Array:
    return np.asarray(stored.read()).astype(np.float32)
