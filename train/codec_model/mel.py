"""Log-mel analysis as FACodec does it, differentiable.

In: audio [B, n] at the codec's rate. Out: log-mel frames [B, bins, T], one a hop.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

LOG_FLOOR = 1e-5
POWER_FLOOR = 1e-9


def mel_basis(sample_rate_hz: int, n_fft: int, bins: int, highest_hz: float) -> np.ndarray:
    """Slaney's mel filters float32 [bins, n_fft // 2 + 1], each of unit area in Hz, from 0 Hz.

    Linear below 1 kHz, logarithmic above (Auditory Toolbox; librosa's default).
    """
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(highest_hz), bins + 2))
    spectrum_hz = np.linspace(0.0, sample_rate_hz / 2, n_fft // 2 + 1)
    ramps = edges[:, None] - spectrum_hz
    widths = np.diff(edges)
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


_HZ_PER_MEL = 200.0 / 3
_LOG_START_HZ = 1000.0
_LOG_START_MEL = _LOG_START_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    if hz < _LOG_START_HZ:
        return hz / _HZ_PER_MEL
    return _LOG_START_MEL + math.log(hz / _LOG_START_HZ) / _LOG_STEP


def _mel_to_hz(mels: np.ndarray) -> np.ndarray:
    logarithmic = _LOG_START_HZ * np.exp(_LOG_STEP * (mels - _LOG_START_MEL))
    return np.where(mels < _LOG_START_MEL, mels * _HZ_PER_MEL, logarithmic)


class MelSpectrogram(nn.Module):
    """Hann window centred in `n_fft`, reflection padding of (n_fft - hop) / 2, no centring.

    Buffers `mel_basis` [bins, n_fft // 2 + 1] and `hann_window` [window_samples] are part of
    the published checkpoint.
    """

    mel_basis: torch.Tensor
    hann_window: torch.Tensor

    def __init__(
        self,
        sample_rate_hz: int,
        n_fft: int,
        hop_samples: int,
        window_samples: int,
        bins: int,
        highest_hz: float,
    ) -> None:
        super().__init__()
        self.n_fft, self.hop_samples = n_fft, hop_samples
        basis = torch.from_numpy(mel_basis(sample_rate_hz, n_fft, bins, highest_hz))
        self.register_buffer("mel_basis", basis)
        self.register_buffer("hann_window", torch.hann_window(window_samples))

    def magnitude(self, audio: torch.Tensor) -> torch.Tensor:
        """Audio [B, n] -> spectrum magnitudes [B, n_fft // 2 + 1, T], T = n // hop.

        n must be at least n_fft // 2, else there is not enough to reflect.
        """
        margin = (self.n_fft - self.hop_samples) // 2
        padded = F.pad(audio[:, None], (margin, margin), mode="reflect")[:, 0]
        spectrum = torch.stft(
            padded,
            self.n_fft,
            self.hop_samples,
            len(self.hann_window),
            self.hann_window,
            center=False,
            return_complex=True,
        )
        return torch.sqrt(torch.view_as_real(spectrum).pow(2).sum(-1) + POWER_FLOOR)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Audio [B, n] -> log-mel [B, bins, T]."""
        return self.log_mel(self.magnitude(audio))

    def log_mel(self, magnitude: torch.Tensor) -> torch.Tensor:
        """Spectrum magnitudes [B, F, T] -> log-mel [B, bins, T]."""
        return torch.log(torch.clamp(self.mel_basis @ magnitude, min=LOG_FLOOR))
