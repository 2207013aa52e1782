"""Guided attention: a loss that teaches a few heads of some layers which symbol is being spoken.

In: attention probabilities of backbone layers and, for every position, the text position of the
symbol that the next step speaks. Out: a loss. Only the guided layers compute probabilities, and
only in training; the model and its checkpoint do not change.

A single guided layer finds its place in the text by what has just been said. That fails if the text
says the same thing twice. A second guided layer, with another layer between the two, can also see
where the first one looked a step ago.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

ATTENTION_NAME = "sdpa_with_probe"
_FLOOR = 1e-4


@dataclass
class AttentionProbe:
    """Passed through the backbone as `probe=`; its layers leave their probabilities here."""

    layers: Sequence[int]
    heads: int
    probabilities: list[torch.Tensor] = field(default_factory=list)  # (B, heads, L, L) each


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
    if probe is None or module.layer_idx not in probe.layers:
        on_cpu = query.device.type == "cpu"
        if on_cpu:  # attention in bfloat16 is several times slower there
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
    probe.probabilities.append(probabilities[:, : probe.heads])
    return (probabilities.to(value.dtype) @ value).transpose(1, 2), None


AttentionInterface.register(ATTENTION_NAME, _probed_attention)


def guided_attention_loss(
    probabilities: Sequence[torch.Tensor], guide: torch.Tensor
) -> torch.Tensor:
    """Means of -log(p + 1e-4) over guided positions, summed over layers and heads.

    `probabilities` (B, K, L, L) of each layer; `guide` int64 (B, L), -1 where nothing is taught.
    Head k learns to look k symbols ahead of the guide.
    """
    batch, position = torch.nonzero(guide >= 0, as_tuple=True)
    if batch.numel() == 0:
        return torch.stack([of_layer.sum() * 0.0 for of_layer in probabilities]).sum()
    target = guide[batch, position]
    losses = [
        -(of_layer[batch, head, position, target + head] + _FLOOR).log().mean()
        for of_layer in probabilities
        for head in range(of_layer.shape[1])
    ]
    return torch.stack(losses).sum()
