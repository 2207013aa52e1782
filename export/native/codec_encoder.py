"""A codec's encoder, packed: float32 at every precision.

In: a `CodecCheckpoint`. Out: matrices and tensors by the names of docs/native-engine.md.
"""

from __future__ import annotations

from export.codec.encoder import directions
from export.codec.log_mel import fourier_basis, used_basis
from export.native.codec_layers import (
    Activations,
    Convolutions,
    Parts,
    matrix,
    norm,
    residual_units,
)
from export.native.matrix import float_matrix
from export.readers.codec_checkpoint import CodecCheckpoint
from export.readers.codec_tensors import (
    MEL_UNITS,
    PROSODY_ENCODER,
    TIMBRE_ENCODER,
    codebook_sizes,
)
from formats.weights import as_weight

ENCODER = "encoder.block"  # in checkpoints


def pack_encoder(codec: CodecCheckpoint) -> Parts:
    """Log-mel, content encoder, prosody, speaker, codebooks."""
    basis = used_basis(codec)
    window = codec.vector("encoder.mel_transform.hann_window")
    fourier = fourier_basis(codec.config, window, basis.shape[1])
    yield float_matrix("codec.mel.fourier", "fp32", as_weight("fourier", fourier))
    yield float_matrix("codec.mel.basis", "fp32", as_weight("basis", basis))
    yield from (_mel_encoder if codec.config.content_encoder == "mel" else _waveform)(codec)
    yield matrix(codec, "codec.prosody.input", "decoder.melspec_linear")
    yield from _transformer(codec, "codec.prosody", PROSODY_ENCODER)
    yield from _transformer(codec, "codec.speaker", TIMBRE_ENCODER)
    for stream, book in enumerate(codebook_sizes(codec.config)):
        name, entries = f"codec.book.{stream}", codec.weight(f"{book}._codebook.weight")
        yield matrix(codec, f"{name}.project", f"{book}.in_proj")
        yield float_matrix(f"{name}.directions", "fp32", directions(entries))


def _waveform(codec: CodecCheckpoint) -> Parts:
    stages, activations = len(codec.config.encoder_ratios), Activations(codec)
    convolutions = Convolutions(codec, "fp32", {})
    yield matrix(codec, "codec.encoder.first", f"{ENCODER}.0")
    for stage in range(stages):
        name, module = f"codec.encoder.{stage}", f"{ENCODER}.{stage + 1}.block"
        yield from residual_units(convolutions, activations, name, module, first=0)
        yield from activations.pack(f"{name}.snake", f"{module}.3")
        yield matrix(codec, f"{name}.down", f"{module}.4")
    yield from activations.pack("codec.encoder.snake", f"{ENCODER}.{stages + 1}")
    yield matrix(codec, "codec.encoder.last", f"{ENCODER}.{stages + 2}")


def _mel_encoder(codec: CodecCheckpoint) -> Parts:
    yield matrix(codec, "codec.encoder.first", f"{ENCODER}.0")
    for unit in range(MEL_UNITS):
        name, module = f"codec.encoder.{unit}", f"{ENCODER}.{unit + 1}"
        yield from norm(codec, f"{name}.norm", f"{module}.norm")
        yield matrix(codec, f"{name}.expand", f"{module}.expand")
        yield matrix(codec, f"{name}.project", f"{module}.project")
    yield matrix(codec, "codec.encoder.last", f"{ENCODER}.{MEL_UNITS + 1}")


def _transformer(codec: CodecCheckpoint, name: str, module: str) -> Parts:
    for layer in range(codec.config.transformer_layers):
        own, source = f"{name}.{layer}", f"{module}.layers.{layer}"
        yield from norm(codec, f"{own}.norm_1", f"{source}.ln_1")
        packed = (codec.weight(f"{source}.self_attn.in_proj_{kind}") for kind in ("weight", "bias"))
        yield float_matrix(f"{own}.attention_in", "fp32", *packed)
        yield matrix(codec, f"{own}.attention_output", f"{source}.self_attn.out_proj")
        yield from norm(codec, f"{own}.norm_2", f"{source}.ln_2")
        yield matrix(codec, f"{own}.ffn_1", f"{source}.ffn.ffn_1")
        yield matrix(codec, f"{own}.ffn_2", f"{source}.ffn.ffn_2")
    yield from norm(codec, f"{name}.norm", f"{module}.last_ln")
