"""How far decoded audio is from the recording: spectra at several resolutions.

In: two audio batches [B, n]. Out: one number. It does not hear phase; adversary.py does.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from train.codec_model.mel import MelSpectrogram

# n_fft, window, hop, mel bins: long windows for pitch, short ones for attacks
RESOLUTIONS = (
    (2048, 1200, 300, 120),
    (1024, 800, 200, 80),
    (512, 400, 100, 60),
    (256, 160, 40, 40),
)
LEAST_SAMPLES = max(n_fft for n_fft, *_ in RESOLUTIONS) // 2  # the longest window reflects as many
_LOG_FLOOR = 1e-4
_NORM_FLOOR = 1e-3
_CONVERGENCE_WEIGHT = 0.5
_LOG_SPECTRUM_WEIGHT = 0.3


class SpectralLoss(nn.Module):
    """Mean over resolutions of: L1 of log-mels, spectral convergence and L1 of log-magnitudes
    (the last two after Parallel WaveGAN, arXiv 1910.11480)."""

    def __init__(self, sample_rate_hz: int) -> None:
        super().__init__()
        self.analyses = nn.ModuleList(
            MelSpectrogram(sample_rate_hz, n_fft, hop, window, bins, sample_rate_hz / 2)
            for n_fft, window, hop, bins in RESOLUTIONS
        )

    def forward(self, decoded: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        return torch.stack([_distance(a, decoded, recorded) for a in self.analyses]).mean()


def _distance(analysis: nn.Module, decoded: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
    assert isinstance(analysis, MelSpectrogram)
    ours, theirs = analysis.magnitude(decoded), analysis.magnitude(recorded)
    mel = F.l1_loss(analysis.log_mel(ours), analysis.log_mel(theirs))
    convergence = torch.norm(theirs - ours) / torch.norm(theirs).clamp(min=_NORM_FLOOR)
    spectrum = F.l1_loss(torch.log(ours + _LOG_FLOOR), torch.log(theirs + _LOG_FLOOR))
    return mel + _CONVERGENCE_WEIGHT * convergence + _LOG_SPECTRUM_WEIGHT * spectrum
