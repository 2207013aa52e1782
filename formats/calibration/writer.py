"""Writes the directory that `formats.calibration.reader` opens.

In: quantized weights and the record about them. Out: `calibration.json` and
`calibration.safetensors` in a folder that replaces an older calibration when it is complete
(`formats.files.folders`). If anything fails, the older calibration stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import save

from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.record import (
    CODES,
    RECORD_FILE,
    SCALES,
    SMOOTHING,
    TENSORS_FILE,
    CalibrationRecord,
    LinearRecord,
    encode_record,
)
from formats.files.folders import FolderKind, publish_folder, unpublished_folder
from formats.files.hashing import sha256_file
from formats.number_formats import INT4, pack_nibbles
from formats.weights import Array

CALIBRATION = FolderKind("calibration", RECORD_FILE)


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder to write into that becomes `output` at the end, unless something fails.

    Raises:
        UserError: `output` exists and is not a calibration, its parent folder is missing, or the
            disk is full.
    """
    with unpublished_folder(output, CALIBRATION) as folder:
        yield folder
        publish_folder(folder, output, CALIBRATION)


def describe_weight(weight: QuantizedWeight, alpha: float | None) -> LinearRecord:
    """The record's entry for a weight."""
    return LinearRecord(
        format=weight.form.name,
        shape=weight.shape,
        block=weight.block,
        activation_scale=weight.activation_scale,
        alpha=alpha,
        has_codes=weight.codes is not None,
    )


def write_calibration(
    folder: Path, weights: Mapping[str, QuantizedWeight], record: CalibrationRecord
) -> CalibrationRecord:
    """Write both files; returns the record with the hash of the tensors."""
    tensors = {name: array for key in weights for name, array in _tensors(key, weights[key])}
    (folder / TENSORS_FILE).write_bytes(save(tensors))
    digest = sha256_file(folder / TENSORS_FILE)
    record = msgspec.structs.replace(record, tensors_sha256=digest)
    (folder / RECORD_FILE).write_bytes(encode_record(record))
    return record


def _tensors(name: str, weight: QuantizedWeight) -> Iterator[tuple[str, Array]]:
    yield SCALES.format(weight=name), np.ascontiguousarray(weight.scales, np.float32)
    if weight.smoothing is not None:
        yield SMOOTHING.format(weight=name), np.ascontiguousarray(weight.smoothing, np.float32)
    if weight.codes is not None:
        packed = pack_nibbles(weight.codes - INT4.lowest)
        yield CODES.format(weight=name), packed.view(np.int8)
