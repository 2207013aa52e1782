"""The speech codec's geometry: FACodec at any size (NaturalSpeech 3, arXiv 2403.03100).

In: `codec.json`, read strictly. Out: a frozen `CodecConfig` and what follows from it: hop, frame
rate, streams, the decoder's receptive field. Its defaults are the published size. Needs no torch.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from commands.errors import UserError
from formats.files.strict_fields import build_dataclass, read_json
from formats.streams import Streams

CODEC_CONFIG_FILE, CODEC_WEIGHTS_FILE = "codec.json", "codec.safetensors"
PUBLISHED_FILES = {
    "encoder": "ns3_facodec_encoder_v2.bin",
    "decoder": "ns3_facodec_decoder_v2.bin",
}

RESIDUAL_DILATIONS = (1, 3, 9)
RESIDUAL_KERNEL = 7
END_KERNEL = 7
FILTER_TAPS = 12  # of the alias-free activation's up- and downsampling filters


@dataclass(frozen=True)
class MelConfig:
    """Log-mel analysis. Its hop is the codec's hop, so one mel frame is one token frame."""

    n_fft: int = 1024
    window_samples: int = 800
    bins: int = 80
    highest_hz: float = 8000.0

    @property
    def least_samples(self) -> int:
        """Shorter audio cannot be padded by reflection."""
        return self.n_fft // 2


@dataclass(frozen=True)
class CodecConfig:
    """Every size of the codec; field names are the keys of `codec.json`.

    A frame has a code of each content codebook, then a code of each prosody codebook.
    `stream_sizes` has their sizes in this order. If it is empty, all have `codebook_size` codes.
    """

    sample_rate_hz: int = 16_000
    latent_channels: int = 256
    activation: Literal["alias_free", "snake"] = "alias_free"
    decoder_channels: int = 1024
    decoder_ratios: tuple[int, ...] = (5, 5, 4, 2)
    content_encoder: Literal["waveform", "mel"] = "waveform"
    encoder_channels: int = 32
    encoder_ratios: tuple[int, ...] = (2, 4, 5, 5)
    codebook_size: int = 1024
    codebook_channels: int = 8
    content_codebooks: int = 2
    prosody_codebooks: int = 1
    stream_sizes: tuple[int, ...] = ()
    residual_codebooks: int = 3
    prosody_bins: int = 20
    mel: MelConfig = field(default_factory=MelConfig)
    transformer_layers: int = 4
    transformer_heads: int = 4
    transformer_ffn_channels: int = 1024

    def __post_init__(self) -> None:
        problem = _find_problem(self)
        if problem:
            raise UserError(problem)

    @property
    def hop_samples(self) -> int:
        """Samples of one frame."""
        return math.prod(self.decoder_ratios)

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate_hz / self.hop_samples

    @property
    def streams(self) -> Streams:
        """One stream for each codebook that a frame has a code of."""
        codebooks = self.content_codebooks + self.prosody_codebooks
        sizes = self.stream_sizes or (self.codebook_size,) * codebooks
        return Streams(sizes, self.frames_per_second)

    @property
    def content_sizes(self) -> tuple[int, ...]:
        """Codes of each content codebook."""
        return self.streams.sizes[: self.content_codebooks]

    @property
    def prosody_sizes(self) -> tuple[int, ...]:
        """Codes of each prosody codebook."""
        return self.streams.sizes[self.content_codebooks :]

    @property
    def speaker_channels(self) -> int:
        """Width of the speaker embedding, which is a mean of the timbre encoder's outputs."""
        return self.latent_channels

    @property
    def delay_frames(self) -> int:
        """How many later frames a frame's audio depends on. Streamed audio is as late."""
        return decoder_reach_frames(self)[1]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def read_codec_config(folder: Path) -> CodecConfig:
    """Read `folder/codec.json`. Raises `UserError` naming the file and the key."""
    path = Path(folder) / CODEC_CONFIG_FILE
    return build_codec_config(read_json(path, "a codec"), str(path))


def find_codec_config(folder: Path) -> CodecConfig:
    """The configuration of a codec in either layout. The published one has no `codec.json`.

    Raises:
        UserError: the folder holds neither.
    """
    folder = Path(folder)
    if (folder / CODEC_CONFIG_FILE).is_file():
        return read_codec_config(folder)
    if not all((folder / name).is_file() for name in PUBLISHED_FILES.values()):
        raise UserError(
            f"{folder}: holds no codec; wanted {CODEC_CONFIG_FILE} and {CODEC_WEIGHTS_FILE}, "
            f"or {' and '.join(PUBLISHED_FILES.values())}"
        )
    return CodecConfig()


def build_codec_config(values: object, where: str) -> CodecConfig:
    """Check the values of a `codec.json`; `where` begins every error message."""
    try:
        return build_dataclass(CodecConfig, values, where)
    except UserError as error:
        message = str(error)
        raise UserError(message if message.startswith(where) else f"{where}: {message}") from None


def _find_problem(config: CodecConfig) -> str | None:
    """What is wrong with the sizes, or None."""
    for name in _COUNTS:
        if getattr(config, name) < 1:
            return f"{name!r} must be at least 1, not {getattr(config, name)}"
    ratios = (*config.decoder_ratios, *config.encoder_ratios)
    if not config.decoder_ratios or min(ratios, default=0) < 2:
        return "'decoder_ratios' and 'encoder_ratios' must be lists of numbers of at least 2"
    if config.residual_codebooks < 0:
        return "'residual_codebooks' must be at least 0"
    if config.decoder_channels % 2 ** len(config.decoder_ratios):
        return "'decoder_channels' must be divisible by two once for every decoder ratio"
    if math.prod(config.encoder_ratios) != config.hop_samples:
        return "'encoder_ratios' and 'decoder_ratios' must have the same product"
    if config.latent_channels % (2 * config.transformer_heads):
        return "'latent_channels' must be an even multiple of 'transformer_heads'"
    return _find_stream_problem(config) or _find_mel_problem(config)


def _find_stream_problem(config: CodecConfig) -> str | None:
    if len(config.stream_sizes) not in (0, config.content_codebooks + config.prosody_codebooks):
        return "'stream_sizes' must hold one size for each content and each prosody codebook"
    try:
        assert config.streams
    except UserError as error:
        return str(error)
    return None


def _find_mel_problem(config: CodecConfig) -> str | None:
    mel = config.mel
    if not config.hop_samples < mel.window_samples <= mel.n_fft:
        return "'mel': needs hop < 'window_samples' <= 'n_fft'"
    if (mel.n_fft - config.hop_samples) % 2:
        return "'mel': 'n_fft' must differ from the hop by an even number"
    if not 1 <= config.prosody_bins <= mel.bins:
        return "'prosody_bins' must lie between 1 and the mel's 'bins'"
    if not 0 < mel.highest_hz <= config.sample_rate_hz / 2:
        return "'mel': 'highest_hz' must be above 0 and at most half the sample rate"
    return None


_COUNTS = (
    "sample_rate_hz",
    "latent_channels",
    "decoder_channels",
    "encoder_channels",
    "codebook_size",
    "codebook_channels",
    "content_codebooks",
    "prosody_codebooks",
    "transformer_layers",
    "transformer_heads",
    "transformer_ffn_channels",
)


def decoder_reach_frames(config: CodecConfig) -> tuple[int, int]:
    """How many earlier and how many later frames the audio of a frame depends on, exactly.

    Goes back from one frame of samples through every layer, with the first and the last position
    that each layer needs.
    """
    first, last = 0, config.hop_samples - 1
    first, last = _before_convolution(first, last, END_KERNEL)
    first, last = _before_activation(first, last, config)
    for ratio in reversed(config.decoder_ratios):
        for dilation in reversed(RESIDUAL_DILATIONS):
            first, last = _before_activation(first, last, config)
            first, last = _before_convolution(first, last, RESIDUAL_KERNEL, dilation)
            first, last = _before_activation(first, last, config)
        first, last = _before_transposed(first, last, ratio)
        first, last = _before_activation(first, last, config)
    first, last = _before_convolution(first, last, END_KERNEL)
    return -first, last


def _before_convolution(first: int, last: int, kernel: int, dilation: int = 1) -> tuple[int, int]:
    reach = (kernel - 1) // 2 * dilation
    return first - reach, last + reach


def _before_transposed(first: int, last: int, ratio: int) -> tuple[int, int]:
    """Kernel 2 ratio, stride ratio: out = in * ratio - padding + tap."""
    padding, taps = ratio // 2 + ratio % 2, 2 * ratio
    return -((taps - 1 - first - padding) // ratio), (last + padding) // ratio


def _before_activation(first: int, last: int, config: CodecConfig) -> tuple[int, int]:
    """SnakeBeta at twice the rate, between an upsampling and a downsampling filter."""
    if config.activation == "snake":
        return first, last
    before, after = FILTER_TAPS // 2 - 1, FILTER_TAPS // 2
    first, last = 2 * first - before, 2 * last + after  # downsampling filter
    reach = FILTER_TAPS // 2 - 1  # upsampling: out + reach = 2 * in + tap, tap = 0 … taps - 1
    return -((FILTER_TAPS - 1 - first - reach) // 2), (last + reach) // 2
