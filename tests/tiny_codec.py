"""Tiny random codecs in this project's layout.

Dimensions are pairwise distinct where the architecture lets them be: hop 10, 256 latent
channels (as a language model's speaker projection expects), decoder 12 → 6 → 3 channels,
encoder 5 → 10 → 20. A second codec has other numbers than FACodec everywhere: its rate, its frames
a second, the number of its streams and their sizes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from formats.checkpoint.codec_config import CodecConfig, MelConfig
from formats.streams import Streams
from tests.torch_elsewhere import call_with_torch


def tiny_codec_config(**changes: Any) -> CodecConfig:
    """Geometry of a tiny codec; any field can be changed."""
    sizes: dict[str, Any] = {
        "latent_channels": 256,
        "decoder_channels": 12,
        "decoder_ratios": (5, 2),
        "encoder_channels": 5,
        "encoder_ratios": (2, 5),
        "codebook_channels": 6,
        "residual_codebooks": 1,
        "prosody_bins": 7,
        "mel": MelConfig(n_fft=64, window_samples=48, bins=11),
        "transformer_layers": 2,
        "transformer_ffn_channels": 40,
    }
    return CodecConfig(**(sizes | changes))


TINY_STREAMS = tiny_codec_config().streams
OTHER_STREAMS = Streams((48, 20, 33, 17), 62.5)


def other_codec_config(**changes: Any) -> CodecConfig:
    """Geometry of a tiny codec at 12 kHz with three content codebooks and a prosody codebook."""
    sizes: dict[str, Any] = {
        "sample_rate_hz": 12_000,
        "latent_channels": 40,
        "decoder_channels": 16,
        "decoder_ratios": (4, 4, 4, 3),
        "encoder_channels": 2,
        "encoder_ratios": (3, 4, 4, 4),
        "content_codebooks": 3,
        "stream_sizes": OTHER_STREAMS.sizes,
        "mel": MelConfig(n_fft=512, window_samples=384, bins=11, highest_hz=6000.0),
    }
    return tiny_codec_config(**(sizes | changes))


def make_codec_checkpoint(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Write `codec.json` and `codec.safetensors`; `changes` are fields of the config."""
    call_with_torch("write_codec_checkpoint", folder, tiny_codec_config(**changes), seed)
    return Path(folder)


def make_other_codec_checkpoint(folder: Path) -> Path:
    """The same for the other codec."""
    call_with_torch("write_codec_checkpoint", folder, other_codec_config(), 0)
    return Path(folder)
