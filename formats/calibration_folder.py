"""The directory that calibration leaves and an export of fewer bits reads.

It is a language model's or a codec's. In: `calibration.json` (which weight is stored how, and for
which model) and `calibration.safetensors` (scales, smoothing vectors, rounded codes). Out:
`QuantizedWeight`s by name, checked, or one `UserError`. This file is the contract between the two
stages: schema and tensor names are written here and nowhere else. It computes no scales and
builds no graphs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np

from commands.errors import UserError
from formats.files.hashing import sha256_file
from formats.number_formats import FORMATS, INT4, FormatName, NumberFormat, spread, unpack_nibbles
from formats.safetensors_reader import StoredTensor, read_safetensors
from formats.weights import Array

SCHEMA_VERSION = 1
RECORD_FILE = "calibration.json"
TENSORS_FILE = "calibration.safetensors"
MAX_RECORD_BYTES = 4 * 1024 * 1024
SCALES, SMOOTHING, CODES = "{weight}.scales", "{weight}.smoothing", "{weight}.codes"
MODEL_FILES = (
    *("config.json", "*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin"),
    *("codec.json", "ns3_facodec_*.bin"),
)
AGAIN = (
    "calibrate again: python -m calibration.run, or calibration.codec for a codec, --precision P "
    "--texts samples/calibration.txt --output DIR with the export's --model, --codec and --voice"
)

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Immutable, and strict about unknown fields."""


class LinearRecord(_Record, frozen=True):
    """How one weight is stored, and what flows into it.

    block: input channels that share a scale; all of them for one scale an output channel.
    activation_scale: None where inputs stay floats. alpha: how much of the channels' spread was
    moved; only with a smoothing vector.
    """

    format: FormatName
    shape: tuple[Annotated[int, msgspec.Meta(ge=1)], Annotated[int, msgspec.Meta(ge=1)]]
    block: Annotated[int, msgspec.Meta(ge=1)]
    activation_scale: Positive | None = None
    alpha: float | None = None
    has_codes: bool = False


class MethodRecord(_Record, frozen=True):
    """How the scales were chosen, for the reader."""

    method: str
    weights: str
    activations: str | None
    utterances: Count
    positions: Count


class CalibrationRecord(_Record, frozen=True):
    """The whole of `calibration.json`.

    excluded: weights that stay floats, and why. kl_divergence, agreement: of the quantized model
    from the float32 one on held-out steps; snr_db: of a quantized codec's audio on held-out
    sentences, against float32's; as calibration measured them.
    """

    schema_version: int
    precision: FormatName
    model_sha256: str
    tensors_sha256: str
    method: MethodRecord
    linears: dict[str, LinearRecord]
    excluded: dict[str, str]
    kl_divergence: float | None = None
    agreement: float | None = None
    snr_db: float | None = None


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight (out, in) in few bits.

    block: input channels that share a scale. scales: float32 (out, in / block), exact in
    float16. smoothing: float32 (in); inputs are divided by it, the weight was multiplied.
    codes: float32 (out, in), or None for the nearest ones.
    """

    form: NumberFormat
    block: int
    scales: Array
    smoothing: Array | None = None
    codes: Array | None = None
    activation_scale: float | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return len(self.scales), self.block * self.scales.shape[1]

    def encode(self, weight: Array) -> Array:
        """Codes (out, in) of the weight (out, in), as float32."""
        if self.codes is not None:
            return self.codes
        smoothed = weight if self.smoothing is None else weight * self.smoothing
        return self.form.encode(smoothed, spread(self.scales, weight.shape[1]))


@dataclass(frozen=True)
class Calibration:
    """A calibration directory, opened and checked."""

    folder: Path
    record: CalibrationRecord
    weights: Mapping[str, QuantizedWeight]


def hash_model(folder: Path) -> str:
    """SHA-256 over the names and contents of a checkpoint's configuration and weights."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)}):
        digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def open_calibration(folder: Path, model: Path, *precisions: str) -> Calibration:
    """Open the calibration of checkpoint `model`, which has to be for one of `precisions`.

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


def encode_record(record: CalibrationRecord) -> bytes:
    """JSON for people to read, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def read_record(folder: Path) -> CalibrationRecord:
    """Read `calibration.json` alone. Raises `UserError` if it is not there or not valid."""
    path = folder / RECORD_FILE
    if not path.is_file():
        raise UserError(f"{folder}: not a calibration (no {RECORD_FILE}); {AGAIN}")
    if path.stat().st_size > MAX_RECORD_BYTES:
        raise UserError(f"{path}: larger than {MAX_RECORD_BYTES} bytes; {AGAIN}")
    try:
        record = msgspec.json.decode(path.read_bytes(), type=CalibrationRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a valid calibration ({error}); {AGAIN}") from None
    if record.schema_version != SCHEMA_VERSION:
        raise UserError(f"{path}: schema {record.schema_version}, not {SCHEMA_VERSION}; {AGAIN}")
    for name, linear in record.linears.items():
        if linear.shape[1] % linear.block:
            raise UserError(f"{path}: {name} has blocks of {linear.block} channels; {AGAIN}")
    return record


def _open_weight(
    tensors: Mapping[str, StoredTensor], name: str, linear: LinearRecord
) -> QuantizedWeight:
    form = FORMATS[linear.format]
    outputs, inputs = linear.shape
    scales = _read(tensors, SCALES.format(weight=name), "f", (outputs, inputs // linear.block))
    smoothing = None
    if linear.alpha is not None:
        smoothing = _read(tensors, SMOOTHING.format(weight=name), "f", (inputs,))
    for array in (scales, smoothing):
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
    return unpack_nibbles(packed.view(np.uint8)).astype(np.float32) + INT4.lowest


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
