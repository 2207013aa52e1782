"""FACodec (NaturalSpeech 3, arXiv 2403.03100; version 2 as published) at any size.

In: mono audio [B, n] at the codec's rate. Out: frames int64 [B, T, K] and a speaker embedding
[B, C]; and back. The columns of a frame are the codes of the content codebooks and then of the
prosody codebooks; the published codec has content 1, content 2, prosody. The third group of
codebooks, `residual`, is not used, because a language model does not predict it; it is kept because
published checkpoints hold it. Parameter names are those of the published checkpoints, with weight
norm folded. This module knows neither files nor training.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from formats.checkpoint.codec_config import (
    END_KERNEL,
    RESIDUAL_DILATIONS,
    RESIDUAL_KERNEL,
    CodecConfig,
)
from train.codec_model.alias_free import make_activation
from train.codec_model.mel import MelSpectrogram
from train.codec_model.transformer import TransformerEncoder
from train.codec_model.vector_quantizer import ResidualQuantizer

_MEL_KERNEL = 5
_MEL_UNITS = 3


class FACodec(nn.Module):
    """Encoder and decoder; `encoder.…` and `decoder.…` are the two published state dicts."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = FACodecEncoder(config)
        self.decoder = FACodecDecoder(config)

    def encode(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Audio [B, n], n >= n_fft / 2 -> frames int64 [B, T, K] and speaker [B, C].

        T = n // hop when n is a whole number of hops.
        """
        log_mel = self.encoder.mel_transform(audio)  # (B, bins, T)
        latents = self.encoder(audio, log_mel)  # (B, T, C)
        prosody = self.decoder.encode_prosody(log_mel, latents.shape[1])
        return self.decoder.quantize(latents, prosody), self.decoder.embed_speaker(latents)

    def decode(self, frames: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        """Frames int64 [B, T, K], speaker [B, C] -> audio [B, T * hop] in (-1, 1)."""
        return self.decoder.synthesize(self.decoder.embed_frames(frames), speaker)


class FACodecEncoder(nn.Module):
    """Audio to latents, and the mel analysis that the prosody path needs."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.from_mel = config.content_encoder == "mel"
        make_stack = make_mel_encoder if self.from_mel else make_waveform_encoder
        self.block = make_stack(config)
        mel = config.mel
        self.mel_transform = MelSpectrogram(
            config.sample_rate_hz,
            mel.n_fft,
            config.hop_samples,
            mel.window_samples,
            mel.bins,
            mel.highest_hz,
        )

    def forward(self, audio: torch.Tensor, log_mel: torch.Tensor) -> torch.Tensor:
        """Audio [B, n] and its log-mel [B, bins, T] -> latents [B, T, C]."""
        latents = self.block(log_mel if self.from_mel else audio[:, None])
        return latents.transpose(1, 2)


class FACodecDecoder(nn.Module):
    """Quantizers, prosody and timbre encoders, and the stack that makes audio of latents."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        channels = config.latent_channels
        self.prosody_bins, self.content_codebooks = config.prosody_bins, config.content_codebooks
        residual_sizes = (config.codebook_size,) * config.residual_codebooks
        self.quantizer = nn.ModuleList(
            ResidualQuantizer(sizes, channels, config.codebook_channels)
            for sizes in (config.prosody_sizes, config.content_sizes, residual_sizes)
            if sizes
        )
        self.melspec_linear = nn.Linear(config.prosody_bins, channels)
        self.melspec_encoder = make_transformer(config)
        self.timbre_encoder = make_transformer(config)
        self.timbre_linear = nn.Linear(channels, 2 * channels)
        nn.init.ones_(self.timbre_linear.bias[:channels])  # scale 1,
        nn.init.zeros_(self.timbre_linear.bias[channels:])  # shift 0
        self.model = make_waveform_decoder(config)

    @property
    def prosody_quantizer(self) -> ResidualQuantizer:
        return cast(ResidualQuantizer, self.quantizer[0])

    @property
    def content_quantizer(self) -> ResidualQuantizer:
        return cast(ResidualQuantizer, self.quantizer[1])

    def encode_prosody(self, log_mel: torch.Tensor, frames: int) -> torch.Tensor:
        """Log-mel [B, bins, T'] -> prosody latents [B, frames, C]; T' <= frames."""
        low = log_mel[:, : self.prosody_bins]
        low = F.pad(low, (0, frames - low.shape[-1]))
        return self.melspec_encoder(self.melspec_linear(low.transpose(1, 2)))

    def quantize(self, latents: torch.Tensor, prosody: torch.Tensor) -> torch.Tensor:
        """Content and prosody latents [B, T, C] -> frames int64 [B, T, K]."""
        content = self.content_quantizer.encode(latents)
        return torch.cat([content, self.prosody_quantizer.encode(prosody)], dim=-1)

    def embed_speaker(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, T, C] -> speaker [B, C], the mean over time of the timbre encoder."""
        return self.timbre_encoder(latents).mean(1)

    def embed_frames(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames int64 [B, T, K] -> the sum of the vectors of their codes [B, T, C]."""
        content = self.content_quantizer.decode(frames[..., : self.content_codebooks])
        return content + self.prosody_quantizer.decode(frames[..., self.content_codebooks :])

    def synthesize(self, embedded: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        """Embedded frames [B, T, C], speaker [B, C] -> audio [B, T * hop]."""
        return self.model(self.apply_timbre(embedded, speaker).transpose(1, 2))[:, 0]

    def apply_timbre(self, embedded: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        """Normalise over channels, then scale and shift by the speaker: [B, T, C]."""
        scale, shift = self.timbre_linear(speaker)[:, None].chunk(2, dim=-1)  # (B, 1, C)
        return F.layer_norm(embedded, embedded.shape[-1:]) * scale + shift


class ResidualUnit(nn.Module):
    def __init__(self, channels: int, dilation: int, activation: str) -> None:
        super().__init__()
        reach = (RESIDUAL_KERNEL - 1) // 2 * dilation
        self.block = nn.Sequential(
            make_activation(activation, channels),
            nn.Conv1d(channels, channels, RESIDUAL_KERNEL, dilation=dilation, padding=reach),
            make_activation(activation, channels),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x)


class Stage(nn.Module):
    """Layers at one rate together with the change to the next; named `block` when published."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x)


class MelUnit(nn.Module):
    """Residual unit of the mel content encoder, normalised over channels frame by frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Conv1d(channels, 2 * channels, _MEL_KERNEL, padding=_MEL_KERNEL // 2)
        self.project = nn.Conv1d(2 * channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return x + self.project(F.silu(self.expand(normed)))


def make_waveform_encoder(config: CodecConfig) -> nn.Sequential:
    """[B, 1, n] -> [B, C, T], the published content encoder."""
    kind, channels = config.activation, config.encoder_channels
    layers: list[nn.Module] = [nn.Conv1d(1, channels, END_KERNEL, padding=END_KERNEL // 2)]
    for ratio in config.encoder_ratios:
        units = [ResidualUnit(channels, dilation, kind) for dilation in RESIDUAL_DILATIONS]
        narrow = nn.Conv1d(
            channels, 2 * channels, 2 * ratio, stride=ratio, padding=ratio // 2 + ratio % 2
        )
        layers.append(Stage(*units, make_activation(kind, channels), narrow))
        channels *= 2
    last = nn.Conv1d(channels, config.latent_channels, 3, padding=1)
    return nn.Sequential(*layers, make_activation(kind, channels), last)


def make_mel_encoder(config: CodecConfig) -> nn.Sequential:
    """[B, bins, T] log-mel -> [B, C, T]: quick to train, for small voices."""
    channels = config.encoder_channels
    return nn.Sequential(
        nn.Conv1d(config.mel.bins, channels, _MEL_KERNEL, padding=_MEL_KERNEL // 2),
        *(MelUnit(channels) for _ in range(_MEL_UNITS)),
        nn.Conv1d(channels, config.latent_channels, 1),
    )


def make_waveform_decoder(config: CodecConfig) -> nn.Sequential:
    """[B, C, T] -> [B, 1, T * hop]."""
    kind, channels = config.activation, config.decoder_channels
    first = nn.Conv1d(config.latent_channels, channels, END_KERNEL, padding=END_KERNEL // 2)
    stages = []
    for ratio in config.decoder_ratios:
        widen = nn.ConvTranspose1d(
            channels,
            channels // 2,
            2 * ratio,
            stride=ratio,
            padding=ratio // 2 + ratio % 2,
            output_padding=ratio % 2,
        )
        units = [ResidualUnit(channels // 2, dilation, kind) for dilation in RESIDUAL_DILATIONS]
        stages.append(Stage(make_activation(kind, channels), widen, *units))
        channels //= 2
    last = nn.Conv1d(channels, 1, END_KERNEL, padding=END_KERNEL // 2)
    return nn.Sequential(first, *stages, make_activation(kind, channels), last, nn.Tanh())


def make_transformer(config: CodecConfig) -> TransformerEncoder:
    return TransformerEncoder(
        config.latent_channels,
        config.transformer_layers,
        config.transformer_heads,
        config.transformer_ffn_channels,
    )
