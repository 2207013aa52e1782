"""Opens a calibration directory and checks all of it.

In: the directory, the model that it must be for, and a precision. Out: `QuantizedWeight`s by name,
or one `UserError`. It computes no scales and builds no graphs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from commands.errors import UserError
from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.record import (
    AGAIN,
    CODES,
    RECORD_FILE,
    SCALES,
    SMOOTHING,
    TENSORS_FILE,
    CalibrationRecord,
    LinearRecord,
    hash_model,
    read_record,
)
from formats.files.hashing import sha256_file
from formats.number_formats import FORMATS, INT4, unpack_nibbles
from formats.safetensors_reader import StoredTensor, read_safetensors
from formats.weights import Array


@dataclass(frozen=True)
class Calibration:
    """A calibration directory, opened and checked."""

    folder: Path
    record: CalibrationRecord
    weights: Mapping[str, QuantizedWeight]


def open_calibration(folder: Path, model: Path, *precisions: str) -> Calibration:
    """Open the calibration of checkpoint `model`, which must be for one of `precisions`.

    Raises:
        UserError: not a calibration, damaged, for another model or for another precision.
    """
    record = read_record(folder)
    path = folder / RECORD_FILE
    if record.precision not in precisions:
        wanted = " or ".join(precisions)
        raise UserError(f"{path}: is for {record.precision}, not {wanted}; {AGAIN}")
    if record.model_sha256 != hash_model(model):
        raise UserError(f"{path}: was made for another model than {model}; {AGAIN}")
    tensors_path = folder / TENSORS_FILE
    if not tensors_path.is_file() or sha256_file(tensors_path) != record.tensors_sha256:
        raise UserError(f"{tensors_path}: missing, or not the one {RECORD_FILE} names; {AGAIN}")
    tensors = read_safetensors(tensors_path)
    weights = {name: _open_weight(tensors, name, linear) for name, linear in record.linears.items()}
    return Calibration(folder, record, weights)


def _open_weight(
    tensors: Mapping[str, StoredTensor], name: str, linear: LinearRecord
) -> QuantizedWeight:
    form = FORMATS[linear.format]
    outputs, inputs = linear.shape
    scales = _read(tensors, SCALES.format(weight=name), "f", (outputs, inputs // linear.block))
    smoothing = None
    if linear.alpha is not None:
        smoothing = _read(tensors, SMOOTHING.format(weight=name), "f", (inputs,))
    positive = np.abs(scales) if form is INT4 else scales
    for array in (positive, smoothing):
        if array is not None and not (np.isfinite(array).all() and (array > 0).all()):
            raise UserError(f"{TENSORS_FILE}: {name} has scales that are not positive; {AGAIN}")
    codes = _read_codes(tensors, name, linear) if linear.has_codes else None
    return QuantizedWeight(form, linear.block, scales, smoothing, codes, linear.activation_scale)


def _read_codes(
    tensors: Mapping[str, StoredTensor], name: str, linear: LinearRecord
) -> Array | None:
    outputs, inputs = linear.shape
    if linear.format != INT4.name or inputs % 2:
        raise UserError(f"{RECORD_FILE}: {name} has codes, which only int4 stores; {AGAIN}")
    packed = _read(tensors, CODES.format(weight=name), "i", (outputs, inputs // 2))
    codes = unpack_nibbles(packed.view(np.uint8)).view(np.int8)
    return np.asarray(codes + np.int8(INT4.lowest))


def _read(
    tensors: Mapping[str, StoredTensor], name: str, kind: Literal["f", "i"], shape: tuple[int, ...]
) -> Array:
    stored = tensors.get(name)
    if stored is None:
        raise UserError(f"{TENSORS_FILE}: has no tensor {name}; {AGAIN}")
    dtype = np.dtype(np.float32 if kind == "f" else np.int8)
    if stored.shape != shape or stored.dtype != dtype:
        raise UserError(
            f"{stored.where} is {stored.dtype} {list(stored.shape)}, "
            f"not {dtype} {list(shape)}; {AGAIN}"
        )
    return np.array(stored.read())
