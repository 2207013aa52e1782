"""An adversary for the waveform decoder: it learns to tell decoded audio from recordings.

Spectral losses leave phase to chance, which sounds metallic; an adversary that sees complex
spectrograms does not (after EnCodec's multi-scale STFT discriminator, arXiv 2210.13438, at a
size for one CPU core). In: audio [B, n]. Out: a loss for the decoder. Used in training only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

RESOLUTIONS = ((1024, 256), (256, 64))  # n_fft, hop
_CHANNELS = 16
_LAYERS = 3
_KERNEL = (9, 3)  # frequency, time
_SLOPE = 0.2
_LEARNING_RATE = 3e-4
_SCORE_WEIGHT = 0.05  # next to a spectral loss of about 1
_FEATURE_WEIGHT = 0.1

Judgement = tuple[torch.Tensor, list[torch.Tensor]]


class SpectrogramDiscriminator(nn.Module):
    """Scores patches of one complex spectrogram: towards 1 for recordings, 0 for decoded audio."""

    window: torch.Tensor

    def __init__(self, n_fft: int, hop_samples: int) -> None:
        super().__init__()
        self.n_fft, self.hop_samples = n_fft, hop_samples
        self.register_buffer("window", torch.hann_window(n_fft))
        padding = (_KERNEL[0] // 2, _KERNEL[1] // 2)
        self.layers = nn.ModuleList(
            weight_norm(
                nn.Conv2d(
                    _CHANNELS if index else 2,
                    _CHANNELS,
                    _KERNEL,
                    stride=(2, 1),
                    padding=padding,
                )
            )
            for index in range(_LAYERS)
        )
        self.score = weight_norm(nn.Conv2d(_CHANNELS, 1, 3, padding=1))

    def forward(self, audio: torch.Tensor) -> Judgement:
        """Audio [B, n] -> scores [B, 1, F, T] and the features of every layer."""
        spectrum = torch.stft(
            audio,
            self.n_fft,
            self.hop_samples,
            window=self.window,
            normalized=True,
            return_complex=True,
        )
        x = torch.view_as_real(spectrum).permute(0, 3, 1, 2)  # (B, 2, F, T)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)
            features.append(x)
        return self.score(x), features


class Adversary:
    """Discriminators at several resolutions and their optimizer (least-squares GAN)."""

    def __init__(self, device: torch.device) -> None:
        self.discriminators = nn.ModuleList(
            SpectrogramDiscriminator(n_fft, hop) for n_fft, hop in RESOLUTIONS
        ).to(device)
        self.optimizer = torch.optim.AdamW(
            self.discriminators.parameters(), lr=_LEARNING_RATE, betas=(0.8, 0.99)
        )

    def oppose(self, decoded: torch.Tensor, recorded: torch.Tensor) -> torch.Tensor:
        """Learn from one batch, then return the loss for the decoder: scores and features."""
        self.optimizer.zero_grad(set_to_none=True)
        real = [judge(recorded) for judge in self.discriminators]
        fake = [judge(decoded.detach()) for judge in self.discriminators]
        torch.stack(
            [
                (1 - right).square().mean() + wrong.square().mean()
                for (right, _), (wrong, _) in zip(real, fake, strict=True)
            ]
        ).sum().backward()
        self.optimizer.step()
        self.discriminators.requires_grad_(False)
        losses = [
            _decoder_loss(judge(decoded), judgement)
            for judge, judgement in zip(self.discriminators, real, strict=True)
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


def _decoder_loss(decoded: Judgement, recorded: Judgement) -> torch.Tensor:
    """Decoded audio should score 1, and look like the recording in every layer."""
    score = (1 - decoded[0]).square().mean()
    features = torch.stack(
        [
            F.l1_loss(ours, theirs.detach())
            for ours, theirs in zip(decoded[1], recorded[1], strict=True)
        ]
    )
    return _SCORE_WEIGHT * score + _FEATURE_WEIGHT * features.sum()
