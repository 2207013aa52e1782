"""A codec's decoder, packed, and facts about the codec.

In: a `CodecCheckpoint`, and the number format of the decoder's convolutions. Out: matrices and
tensors by the names of docs/native-engine.md. `export.native.codec_encoder` has the encoder.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from export.codec.decoder import codebook_vectors
from export.native.codec_layers import (
    Activations,
    Convolutions,
    Parts,
    affine,
    residual_units,
)
from export.native.matrix import float_matrix
from export.native.widths import filled_tensor
from export.readers.codec_checkpoint import CodecCheckpoint
from export.readers.codec_tensors import codebook_sizes
from formats.precisions import Precision

DECODER = "decoder.model"  # in checkpoints


def pack_decoder(codec: CodecCheckpoint, convolutions: Convolutions) -> Parts:
    """Vectors of codes, timbre, and the stack of convolutions."""
    for stream, book in enumerate(codebook_sizes(codec.config)):
        yield filled_tensor(f"codec.vectors.{stream}", codebook_vectors(codec, book))
    yield float_matrix("codec.timbre", "fp32", *affine(codec, "decoder.timbre_linear"))
    ratios, activations = codec.config.decoder_ratios, Activations(codec)
    yield convolutions.plain("codec.decoder.first", f"{DECODER}.0")
    for stage, ratio in enumerate(ratios):
        name, module = f"codec.decoder.{stage}", f"{DECODER}.{stage + 1}.block"
        yield from activations.pack(f"{name}.snake", f"{module}.0")
        yield convolutions.upsampling(f"{name}.up", f"{module}.1", ratio)
        yield from residual_units(convolutions, activations, name, module, first=2)
    yield from activations.pack("codec.decoder.snake", f"{DECODER}.{len(ratios) + 1}")
    yield convolutions.plain("codec.decoder.last", f"{DECODER}.{len(ratios) + 2}")


def codec_facts(codec: CodecCheckpoint, precision: Precision) -> dict[str, Any]:
    """Facts of the metadata."""
    facts = asdict(codec.config) | {"precision": precision}
    return {"codec": facts | {"delay_frames": codec.config.delay_frames}}
