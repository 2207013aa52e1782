"""Attention supervision: which symbol is being spoken, taught to a few heads of one layer.

In: attention probabilities of one backbone layer and, for every position, the text position
of the symbol that the next step speaks. Out: a loss. Only that layer computes probabilities
itself, only in training; the model and its checkpoint stay what they are.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

ATTENTION_NAME = "sdpa_with_probe"
_FLOOR = 1e-4


@dataclass
class AttentionProbe:
    """Passed through the backbone as `probe=`; layer `layer` leaves its probabilities here."""

    layer: int
    heads: int
    probabilities: torch.Tensor | None = None  # (B, heads, L, L)


def _probed_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    probe: AttentionProbe | None = None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    if probe is None or module.layer_idx != probe.layer:
        on_cpu = query.device.type == "cpu"
        if on_cpu:  # whose attention in bfloat16 is several times slower
            query, key, value = query.float(), key.float(), value.float()
        with torch.autocast("cpu", enabled=False) if on_cpu else nullcontext():
            return sdpa_attention_forward(
                module,
                query,
                key,
                value,
                attention_mask,
                scaling=scaling,
                dropout=dropout,
                **options,
            )
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    length = query.shape[2]
    future = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    scores = (query @ key.transpose(2, 3)).float() * scaling  # (B, heads, L, L)
    probabilities = scores.masked_fill(future, -torch.inf).softmax(-1)
    probe.probabilities = probabilities[:, : probe.heads]
    return (probabilities.to(value.dtype) @ value).transpose(1, 2), None


AttentionInterface.register(ATTENTION_NAME, _probed_attention)


def guided_attention_loss(probabilities: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """Mean of -log(p + 1e-4) over heads and guided positions.

    `probabilities` (B, K, L, L); `guide` int64 (B, L), -1 where nothing is taught. Head k is to
    look k symbols ahead of the guide.
    """
    batch, position = torch.nonzero(guide >= 0, as_tuple=True)
    if batch.numel() == 0:
        return probabilities.sum() * 0.0
    target = guide[batch, position]
    losses = [
        -(probabilities[batch, head, position, target + head] + _FLOOR).log().mean()
        for head in range(probabilities.shape[1])
    ]
    return torch.stack(losses).sum()
