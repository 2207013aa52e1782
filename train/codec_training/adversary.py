"""An adversary for the waveform decoder: it learns to tell decoded audio from recordings.

Spectral losses do not hear phase, so decoded audio sounds metallic and noisy. Discriminators of
complex spectrograms see phase (after EnCodec's, arXiv 2210.13438). Discriminators of the waveform,
folded by a period, see whether one period of a voice is like the next (after HiFi-GAN's, arXiv
2010.05646). Both are small enough for one CPU core. In: audio [B, n]. Out: a loss for the decoder.
Used only in training.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

RESOLUTIONS = ((1024, 256), (512, 128), (256, 64))  # n_fft, hop
PERIODS = (2, 3, 5, 7, 11)  # samples; primes overlap least
_SPECTROGRAM_CHANNELS = (2, 16, 16, 16)
_PERIOD_CHANNELS = (1, 16, 32, 64, 64)
_PERIOD_STRIDES = (3, 3, 3, 1)
_COMPRESSION = 0.3  # exponent of magnitudes; makes quiet detail count
_QUIETEST = 1e-4
WAVEFORM_GAIN = 10.0  # speech at a deviation of about 1
_SLOPE = 0.2
_LEARNING_RATE = 5e-4
_SCORE_WEIGHT = 0.12  # next to a spectral loss of about 1
_FEATURE_WEIGHT = 0.25
_FEATURE_FLOOR = 1e-3

Judgement = tuple[torch.Tensor, list[torch.Tensor]]


class Discriminator(nn.Module):
    """Convolutions over audio that is laid out on a plane. The scores of recordings are trained
    towards 1, those of decoded audio towards 0."""

    def __init__(self, layers: Sequence[nn.Conv2d], score: nn.Conv2d) -> None:
        super().__init__()
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.score = weight_norm(score)

    def lay_out(self, audio: torch.Tensor) -> torch.Tensor:
        """Audio [B, n] -> plane [B, C, H, W]."""
        raise NotImplementedError

    def forward(self, audio: torch.Tensor) -> Judgement:
        """Audio [B, n] -> scores [B, 1, H', W'] and the features of every layer."""
        x = self.lay_out(audio)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)
            features.append(x)
        return self.score(x), features


class SpectrogramDiscriminator(Discriminator):
    """Sees real and imaginary part of a spectrogram: [B, 2, frequency, time]."""

    window: torch.Tensor

    def __init__(self, n_fft: int, hop_samples: int) -> None:
        sizes = _SPECTROGRAM_CHANNELS
        super().__init__(
            [
                nn.Conv2d(read, written, (9, 3), stride=(2, 1), padding=(4, 1))
                for read, written in itertools.pairwise(sizes)
            ],
            nn.Conv2d(sizes[-1], 1, 3, padding=1),
        )
        self.n_fft, self.hop_samples = n_fft, hop_samples
        self.register_buffer("window", torch.hann_window(n_fft))

    def lay_out(self, audio: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(
            audio,
            self.n_fft,
            self.hop_samples,
            window=self.window,
            normalized=True,
            return_complex=True,
        )
        louder = spectrum.abs().clamp(min=_QUIETEST) ** (_COMPRESSION - 1)
        return torch.view_as_real(spectrum * louder).permute(0, 3, 1, 2)


class PeriodDiscriminator(Discriminator):
    """Sees every `period`-th sample as one column: [B, 1, n / period, period]."""

    def __init__(self, period: int) -> None:
        sizes = _PERIOD_CHANNELS
        super().__init__(
            [
                nn.Conv2d(read, written, (5, 1), stride=(stride, 1), padding=(2, 0))
                for (read, written), stride in zip(
                    itertools.pairwise(sizes), _PERIOD_STRIDES, strict=True
                )
            ],
            nn.Conv2d(sizes[-1], 1, (3, 1), padding=(1, 0)),
        )
        self.period = period

    def lay_out(self, audio: torch.Tensor) -> torch.Tensor:
        padded = F.pad(WAVEFORM_GAIN * audio, (0, -audio.shape[-1] % self.period))
        return padded.unflatten(-1, (-1, self.period))[:, None]


class Adversary:
    """Discriminators of both kinds and their optimizer (least-squares GAN)."""

    def __init__(self, device: torch.device) -> None:
        self.discriminators = nn.ModuleList(
            [SpectrogramDiscriminator(n_fft, hop) for n_fft, hop in RESOLUTIONS]
            + [PeriodDiscriminator(period) for period in PERIODS]
        ).to(device)
        self.optimizer = torch.optim.AdamW(
            self.discriminators.parameters(), lr=_LEARNING_RATE, betas=(0.8, 0.99)
        )

    def oppose(self, decoded: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        """Learn from one batch, then return the loss for the decoder: scores and features."""
        self.optimizer.zero_grad(set_to_none=True)
        both = torch.cat([recorded, decoded.detach()])
        judged = [judge(both) for judge in self.discriminators]
        torch.stack([_own_loss(scores) for scores, _ in judged]).sum().backward()
        self.optimizer.step()
        self.discriminators.requires_grad_(False)
        losses = [
            _decoder_loss(judge(decoded), features)
            for judge, (_, features) in zip(self.discriminators, judged, strict=True)
        ]
        self.discriminators.requires_grad_(True)
        return torch.stack(losses).mean()

    def state(self) -> dict[str, Any]:
        return {
            "discriminators": self.discriminators.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.discriminators.load_state_dict(state["discriminators"])
        self.optimizer.load_state_dict(state["optimizer"])


def _own_loss(scores: torch.Tensor) -> torch.Tensor:
    """The discriminator's own loss. `scores` [2 B, …]: the recordings' come first and should be 1,
    the others 0."""
    right, wrong = scores.chunk(2)
    return (1 - right).square().mean() + wrong.square().mean()


def _decoder_loss(decoded: Judgement, both: list[torch.Tensor]) -> torch.Tensor:
    """The decoder's loss: decoded audio should score 1, and have the recording's features in every
    layer. Distances are relative to the size of the features (EnCodec, eq. 3). `both` has the
    recordings' features first."""
    scores, features = decoded
    distances = []
    for ours, theirs in zip(features, both, strict=True):
        recorded = theirs.detach().chunk(2)[0]
        size = recorded.abs().mean().clamp(min=_FEATURE_FLOOR)
        distances.append(F.l1_loss(ours, recorded) / size)
    likeness = torch.stack(distances).mean()
    return _SCORE_WEIGHT * (1 - scores).square().mean() + _FEATURE_WEIGHT * likeness
