"""Factorised vector quantization: a few channels, nearest codebook entry by cosine.

In: latents [B, T, C]. Out: codes int64 [B, T] and what they stand for, [B, T, C]. Parameter
names are those of the published checkpoints. How codebooks learn is in
train/codec_training/codebook_learning.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F


class VectorQuantizer(nn.Module):
    """One codebook [K, D] between two projections, C -> D and D -> C."""

    def __init__(self, channels: int, codebook_size: int, codebook_channels: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(channels, codebook_channels)
        self.out_proj = nn.Linear(codebook_channels, channels)
        self._codebook = nn.Embedding(codebook_size, codebook_channels)

    @property
    def codebook(self) -> torch.Tensor:
        return self._codebook.weight

    def encode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, T, C] -> codes int64 [B, T]."""
        return self.nearest(self.in_proj(latents))

    def nearest(self, projected: torch.Tensor) -> torch.Tensor:
        """The code of the smallest angle: [..., D] -> int64 [...]."""
        directions = F.normalize(self.codebook, dim=-1)
        return (projected @ directions.t()).argmax(-1)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes int64 [B, T] -> [B, T, C]."""
        return self.out_proj(self._codebook(codes))


class ResidualQuantizer(nn.Module):
    """Codebooks in a row, of `sizes` codes. Each quantizes what the ones before it left over."""

    def __init__(self, sizes: Sequence[int], channels: int, codebook_channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            VectorQuantizer(channels, size, codebook_channels) for size in sizes
        )

    @property
    def codebooks(self) -> list[VectorQuantizer]:
        return [cast(VectorQuantizer, layer) for layer in self.layers]

    def encode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, T, C] -> codes int64 [B, T, codebooks]."""
        codes = []
        for layer in self.codebooks:
            codes.append(layer.encode(latents))
            latents = latents - layer.decode(codes[-1])
        return torch.stack(codes, dim=-1)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes int64 [B, T, codebooks] -> the sum of their vectors [B, T, C]."""
        parts = [layer.decode(codes[..., i]) for i, layer in enumerate(self.codebooks)]
        return torch.stack(parts).sum(0)
