"""SnakeBeta, the periodic activation of the codec's convolution stacks, plain or alias-free.

In and out: [B, C, T]. Alias-free means applied at twice the rate between two low-pass filters
(BigVGAN, arXiv 2206.04658). Parameter and buffer names are those of the published checkpoints.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from formats.checkpoint.codec_config import FILTER_TAPS

_CUTOFF = 0.25  # cycles per sample at the doubled rate
_HALF_WIDTH = 0.3
_SHARPNESS_FLOOR = 1e-9


class SnakeBeta(nn.Module):
    """x + sin(x e^alpha)^2 / e^beta, with alpha and beta [C] per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frequency = self.alpha.exp()[:, None]
        scale = 1.0 / (self.beta.exp()[:, None] + _SHARPNESS_FLOOR)
        return x + scale * torch.sin(x * frequency).square()


class PlainActivation(nn.Module):
    """SnakeBeta at the signal's own rate; `act` as in the alias-free one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.act = SnakeBeta(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(x)


class AliasFreeActivation(nn.Module):
    """SnakeBeta at twice the rate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.act = SnakeBeta(channels)
        self.upsample = Upsample()
        self.downsample = Downsample()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.downsample(self.act(self.upsample(x)))


class Upsample(nn.Module):
    """[B, C, T] -> [B, C, 2T]."""

    filter: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", kaiser_sinc_filter())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels, reach = x.shape[1], FILTER_TAPS // 2 - 1
        padded = F.pad(x, (reach, reach), mode="replicate")
        kernel = self.filter.expand(channels, -1, -1)
        doubled = 2 * F.conv_transpose1d(padded, kernel, stride=2, groups=channels)
        return doubled[..., 3 * reach : -3 * reach]


class LowPass(nn.Module):
    """The downsampling filter. It is a separate module because checkpoints name it as one."""

    filter: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", kaiser_sinc_filter())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = x.shape[1]
        padded = F.pad(x, (FILTER_TAPS // 2 - 1, FILTER_TAPS // 2), mode="replicate")
        return F.conv1d(padded, self.filter.expand(channels, -1, -1), stride=2, groups=channels)


class Downsample(nn.Module):
    """[B, C, 2T] -> [B, C, T]."""

    def __init__(self) -> None:
        super().__init__()
        self.lowpass = LowPass()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lowpass(x)


def kaiser_sinc_filter() -> torch.Tensor:
    """Low-pass filter float32 [1, 1, 12] of unit sum: a sinc under a Kaiser window.

    Kaiser's formula for the window's beta from the transition width (Oppenheim and Schafer).
    """
    half = FILTER_TAPS // 2
    attenuation_db = 2.285 * (half - 1) * math.pi * 4 * _HALF_WIDTH + 7.95
    if attenuation_db > 50.0:
        beta = 0.1102 * (attenuation_db - 8.7)
    else:
        beta = 0.5842 * (attenuation_db - 21.0) ** 0.4 + 0.07886 * (attenuation_db - 21.0)
    window = torch.kaiser_window(FILTER_TAPS, periodic=False, beta=beta)
    time = torch.arange(-half, half) + 0.5
    taps = 2 * _CUTOFF * window * torch.sinc(2 * _CUTOFF * time)
    return (taps / taps.sum()).view(1, 1, FILTER_TAPS)


def make_activation(kind: str, channels: int) -> nn.Module:
    """`kind` is `CodecConfig.activation`."""
    return AliasFreeActivation(channels) if kind == "alias_free" else PlainActivation(channels)
