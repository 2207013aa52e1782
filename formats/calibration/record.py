"""The contract of a calibration directory: its files, their schema and the names of tensors.

In: `calibration.json`, which says how each weight is stored, and for which model. Out: a checked
`CalibrationRecord`, or one `UserError`. The scales, smoothing vectors and rounded codes are tensors
of `calibration.safetensors`; `SCALES`, `SMOOTHING` and `CODES` are their names.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec

from commands.errors import UserError
from formats.files.hashing import sha256_file
from formats.precisions import FormatName

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
    "calibrate again: python -m calibration.run --precision P --texts samples/calibration.txt "
    "--output DIR with the export's --model, --codec and --voice (a codec: calibration.codec)"
)

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Immutable, and strict about unknown fields."""


class LinearRecord(_Record, frozen=True):
    """How one weight and its inputs are stored.

    block: input channels that share a scale; all of them if each output channel has one scale.
    activation_scale: None if inputs stay floats. alpha: the exponent of the smoothing vector, if
    there is one.
    """

    format: FormatName
    shape: tuple[Annotated[int, msgspec.Meta(ge=1)], Annotated[int, msgspec.Meta(ge=1)]]
    block: Annotated[int, msgspec.Meta(ge=1)]
    activation_scale: Positive | None = None
    alpha: float | None = None
    has_codes: bool = False


class MethodRecord(_Record, frozen=True):
    """How the scales were chosen, for people."""

    method: str
    weights: str
    activations: str | None
    utterances: Count
    positions: Count


class CalibrationRecord(_Record, frozen=True):
    """The content of `calibration.json`.

    excluded: weights that stay floats, each with the reason. The figures compare the quantized
    model with the float32 one on held-out sentences: kl_divergence and agreement of a language
    model's steps, snr_db of a codec's audio.
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


def hash_model(folder: Path) -> str:
    """SHA-256 over the names and contents of a checkpoint's configuration and weights."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)}):
        digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def encode_record(record: CalibrationRecord) -> bytes:
    """JSON for people to read, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def read_record(folder: Path) -> CalibrationRecord:
    """Read only `calibration.json`. Raises `UserError` if it is missing or invalid."""
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
