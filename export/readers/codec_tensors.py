"""Names and shapes of the codec tensors that inference needs.

In: a `CodecConfig`. Out: (name, shape) pairs with weight norm folded. Names are those of the
published FACodec state dicts after "encoder." and "decoder.". It reads no files.
"""

from __future__ import annotations

from collections.abc import Iterator

from formats.checkpoint.codec_config import (
    END_KERNEL,
    FILTER_TAPS,
    RESIDUAL_DILATIONS,
    RESIDUAL_KERNEL,
    CodecConfig,
)

Shapes = Iterator[tuple[str, tuple[int, ...]]]

PROSODY_ENCODER = "decoder.melspec_encoder"
TIMBRE_ENCODER = "decoder.timbre_encoder"
MEL_UNITS = 3
MEL_KERNEL = 5
FFN_KERNEL = 5
LAST_ENCODER_KERNEL = 3


def content_books(config: CodecConfig) -> list[str]:
    """Codebooks of the first columns of a frame. Each quantizes what those before it left over."""
    return [f"decoder.quantizer.1.layers.{book}" for book in range(config.content_codebooks)]


def prosody_books(config: CodecConfig) -> list[str]:
    """Codebooks of the other columns."""
    return [f"decoder.quantizer.0.layers.{book}" for book in range(config.prosody_codebooks)]


def codebook_sizes(config: CodecConfig) -> dict[str, int]:
    """Codes of each codebook, in the order of a frame's columns."""
    books = [*content_books(config), *prosody_books(config)]
    return dict(zip(books, config.streams.sizes, strict=True))


def expected_shapes(config: CodecConfig) -> Shapes:
    """Every tensor that the encoder and decoder graphs read."""
    if config.content_encoder == "mel":
        yield from _mel_encoder(config)
    else:
        yield from _waveform_encoder(config)
    yield "encoder.mel_transform.mel_basis", (config.mel.bins, config.mel.n_fft // 2 + 1)
    yield "encoder.mel_transform.hann_window", (config.mel.window_samples,)
    for book, size in codebook_sizes(config).items():
        yield from _codebook(config, book, size)
    latent = config.latent_channels
    yield from _linear("decoder.melspec_linear", config.prosody_bins, latent)
    yield from _transformer(config, PROSODY_ENCODER)
    yield from _transformer(config, TIMBRE_ENCODER)
    yield from _linear("decoder.timbre_linear", config.speaker_channels, 2 * latent)
    yield from _waveform_decoder(config)


def _waveform_encoder(config: CodecConfig) -> Shapes:
    channels = config.encoder_channels
    yield from _convolution("encoder.block.0", 1, channels, END_KERNEL)
    stages = len(config.encoder_ratios)
    for stage, ratio in enumerate(config.encoder_ratios, start=1):
        name = f"encoder.block.{stage}.block"
        yield from _residual_units(config, name, 0, channels)
        yield from _activation(config, f"{name}.3", channels)
        yield from _convolution(f"{name}.4", channels, 2 * channels, 2 * ratio)
        channels *= 2
    yield from _activation(config, f"encoder.block.{stages + 1}", channels)
    last = f"encoder.block.{stages + 2}"
    yield from _convolution(last, channels, config.latent_channels, LAST_ENCODER_KERNEL)


def _mel_encoder(config: CodecConfig) -> Shapes:
    channels = config.encoder_channels
    yield from _convolution("encoder.block.0", config.mel.bins, channels, MEL_KERNEL)
    for unit in range(1, MEL_UNITS + 1):
        name = f"encoder.block.{unit}"
        yield from _norm(f"{name}.norm", channels)
        yield from _convolution(f"{name}.expand", channels, 2 * channels, MEL_KERNEL)
        yield from _convolution(f"{name}.project", 2 * channels, channels, 1)
    yield from _convolution(f"encoder.block.{MEL_UNITS + 1}", channels, config.latent_channels, 1)


def _waveform_decoder(config: CodecConfig) -> Shapes:
    channels = config.decoder_channels
    yield from _convolution("decoder.model.0", config.latent_channels, channels, END_KERNEL)
    stages = len(config.decoder_ratios)
    for stage, ratio in enumerate(config.decoder_ratios, start=1):
        name = f"decoder.model.{stage}.block"
        yield from _activation(config, f"{name}.0", channels)
        yield f"{name}.1.weight", (channels, channels // 2, 2 * ratio)
        channels //= 2
        yield f"{name}.1.bias", (channels,)
        yield from _residual_units(config, name, 2, channels)
    yield from _activation(config, f"decoder.model.{stages + 1}", channels)
    yield from _convolution(f"decoder.model.{stages + 2}", channels, 1, END_KERNEL)


def _residual_units(config: CodecConfig, name: str, first: int, channels: int) -> Shapes:
    for index in range(first, first + len(RESIDUAL_DILATIONS)):
        block = f"{name}.{index}.block"
        yield from _activation(config, f"{block}.0", channels)
        yield from _convolution(f"{block}.1", channels, channels, RESIDUAL_KERNEL)
        yield from _activation(config, f"{block}.2", channels)
        yield from _convolution(f"{block}.3", channels, channels, 1)


def _activation(config: CodecConfig, name: str, channels: int) -> Shapes:
    yield f"{name}.act.alpha", (channels,)
    yield f"{name}.act.beta", (channels,)
    if config.activation == "alias_free":
        yield f"{name}.upsample.filter", (1, 1, FILTER_TAPS)
        yield f"{name}.downsample.lowpass.filter", (1, 1, FILTER_TAPS)


def _codebook(config: CodecConfig, name: str, size: int) -> Shapes:
    yield from _linear(f"{name}.in_proj", config.latent_channels, config.codebook_channels)
    yield from _linear(f"{name}.out_proj", config.codebook_channels, config.latent_channels)
    yield f"{name}._codebook.weight", (size, config.codebook_channels)


def _transformer(config: CodecConfig, name: str) -> Shapes:
    channels, inner = config.latent_channels, config.transformer_ffn_channels
    for index in range(config.transformer_layers):
        layer = f"{name}.layers.{index}"
        yield from _norm(f"{layer}.ln_1", channels)
        yield from _norm(f"{layer}.ln_2", channels)
        yield f"{layer}.self_attn.in_proj_weight", (3 * channels, channels)
        yield f"{layer}.self_attn.in_proj_bias", (3 * channels,)
        yield from _linear(f"{layer}.self_attn.out_proj", channels, channels)
        yield from _convolution(f"{layer}.ffn.ffn_1", channels, inner, FFN_KERNEL)
        yield from _linear(f"{layer}.ffn.ffn_2", inner, channels)
    yield from _norm(f"{name}.last_ln", channels)


def _convolution(name: str, inputs: int, outputs: int, taps: int) -> Shapes:
    yield f"{name}.weight", (outputs, inputs, taps)
    yield f"{name}.bias", (outputs,)


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, channels: int) -> Shapes:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)
