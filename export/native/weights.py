"""The file of weights of a native bundle, from a language model and a codec.

In: checkpoints, number formats and calibrations. Out: `weights.safetensors`. Nothing is read but
small vectors, and what fits layers into half precision, until the file is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.bundle.manifest import describe_language_model
from export.bundle.prefixes import find_prefixes
from export.native.codec import Convolutions, codec_facts, pack_decoder
from export.native.codec_encoder import pack_encoder
from export.native.language_model import language_model_facts, pack_language_model
from export.native.layout import Format
from export.native.matrix import Matrix
from export.native.products import Products
from export.native.weight_file import Tensor, write_weights
from export.quantization.products import require_known
from export.readers.checkpoint import Checkpoint
from export.readers.codec_checkpoint import CodecCheckpoint
from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.reader import Calibration
from formats.precisions import USUAL_CACHES, CacheFormat, Precision

FORMAT = 1  # of the file; an engine refuses others


@dataclass(frozen=True)
class Formats:
    """Number formats of both models, with the scales of few bits.

    cache: of keys and values; None for what goes with the precision.
    """

    precision: Precision = "fp32"
    calibration: Calibration | None = None
    codec_precision: Precision = "fp32"
    codec_calibration: Calibration | None = None
    cache: CacheFormat | None = None


def write_packed(
    path: Path,
    checkpoint: Checkpoint,
    codec: CodecCheckpoint,
    formats: Formats,
    *,
    with_text_head: bool,
    voices: int = 0,
) -> None:
    """Write the file. voices: how many the bundle has.

    Raises:
        UserError: a calibration does not fit.
    """
    packed = [*_language_model(checkpoint, formats, with_text_head), *_codec(codec, formats)]
    matrices = {part.name: part.facts() for part in packed if isinstance(part, Matrix)}
    facts: dict[str, Any] = {"format": FORMAT}
    spec = describe_language_model(checkpoint.config)
    cache = formats.cache or USUAL_CACHES[formats.precision]
    facts |= language_model_facts(
        checkpoint, spec, formats.precision, cache, with_text_head=with_text_head
    )
    facts |= codec_facts(codec, formats.codec_precision)
    facts["prefixes"] = find_prefixes(checkpoint, voices, with_chat=with_text_head)
    tensors = [
        tensor
        for part in packed
        for tensor in (part.tensors() if isinstance(part, Matrix) else [part])
    ]
    write_weights(path, tensors, facts | {"matrices": matrices})


def _language_model(
    checkpoint: Checkpoint, formats: Formats, with_text_head: bool
) -> Iterator[Matrix | Tensor]:
    weights = _weights_of(formats.calibration)
    products = Products.of(checkpoint, formats.precision, weights)
    yield from pack_language_model(
        checkpoint, products, formats.precision, with_text_head=with_text_head
    )
    if formats.calibration is not None:
        require_known(formats.calibration, products.names)


def _codec(codec: CodecCheckpoint, formats: Formats) -> Iterator[Matrix | Tensor]:
    weights = _weights_of(formats.codec_calibration)
    usual: Format = "bf16" if formats.codec_precision == "bf16" else "fp32"
    convolutions = Convolutions(codec, usual, weights)
    yield from pack_decoder(codec, convolutions)
    if formats.codec_calibration is not None:
        require_known(formats.codec_calibration, convolutions.names)
    yield from pack_encoder(codec)


def _weights_of(calibration: Calibration | None) -> Mapping[str, QuantizedWeight]:
    return {} if calibration is None else calibration.weights
