"""How codebooks learn: k-means at the start, then moving averages (arXiv 1711.00937, appendix A).

In: directions, float32 [N, D] of unit length, and their codes. Out: a quantizer's codebook, changed
in place; its entries keep unit length. Entries that hardly any input chooses are replaced by random
inputs. The only state is the averages; random draws come from a generator.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from train.codec_model.vector_quantizer import VectorQuantizer

_DECAY = 0.98
_DEAD_SHARE = 0.05  # of an even share of the batch
_KMEANS_ROUNDS = 10


class CodebookLearner(nn.Module):
    """The moving averages of one codebook: how many inputs an entry gets, and their sum."""

    counts: torch.Tensor
    sums: torch.Tensor

    def __init__(self, layer: VectorQuantizer) -> None:
        super().__init__()
        size, channels = layer.codebook.shape
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, channels))

    @torch.no_grad()
    def start(
        self, layer: VectorQuantizer, inputs: torch.Tensor, generator: torch.Generator
    ) -> None:
        """Spherical k-means over `inputs` [N, D]."""
        size = len(layer.codebook)
        layer.codebook.copy_(_draw(inputs, size, generator))
        for _ in range(_KMEANS_ROUNDS):
            counts, sums = _accumulate(inputs, layer.nearest(inputs), size)
            empty = counts == 0
            sums[empty] = _draw(inputs, int(empty.sum()), generator)
            layer.codebook.copy_(F.normalize(sums, dim=-1))
        self.counts.fill_(len(inputs) / size)
        self.sums.copy_(layer.codebook * self.counts[:, None])

    @torch.no_grad()
    def update(
        self,
        layer: VectorQuantizer,
        inputs: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator,
    ) -> None:
        """Follow one batch: `inputs` [N, D] with their codes int64 [N]."""
        size = len(layer.codebook)
        counts, sums = _accumulate(inputs, codes, size)
        self.counts.lerp_(counts, 1 - _DECAY)
        self.sums.lerp_(sums, 1 - _DECAY)
        layer.codebook.copy_(F.normalize(self.sums, dim=-1))
        dead = self.counts < _DEAD_SHARE * len(inputs) / size
        if dead.any():
            reborn = _draw(inputs, int(dead.sum()), generator)
            layer.codebook[dead] = reborn
            self.sums[dead] = reborn
            self.counts[dead] = 1.0


def _accumulate(
    inputs: torch.Tensor, codes: torch.Tensor, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    counts = torch.bincount(codes, minlength=size).to(inputs.dtype)
    sums = inputs.new_zeros(size, inputs.shape[1]).index_add_(0, codes, inputs)
    return counts, sums


def _draw(inputs: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` random rows, drawn on the CPU so that every device draws the same."""
    rows = torch.randint(len(inputs), (count,), generator=generator)
    return inputs[rows.to(inputs.device)]


def quantize_straight_through(
    layer: VectorQuantizer, latents: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents [B, T, C] -> vectors [B, T, C], commitment loss, directions [N, D], codes [N].

    The gradient passes through the codebook unchanged.
    """
    directions = F.normalize(layer.in_proj(latents), dim=-1)
    codes = layer.nearest(directions.detach())
    chosen = F.embedding(codes, layer.codebook).detach()
    commitment = F.mse_loss(directions, chosen)
    passed = directions + (chosen - directions).detach()
    flat = directions.detach().flatten(0, 1)
    return layer.out_proj(passed), commitment, flat, codes.flatten()
