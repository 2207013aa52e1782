"""The codec's transformer encoder, for prosody and for timbre.

In and out: [B, T, C]. Pre-norm layers with a convolutional feed-forward part. Parameter names
are those of the published checkpoints.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

_FFN_KERNEL = 5
_FFN_INIT_STD = 0.02


class TransformerEncoder(nn.Module):
    def __init__(self, channels: int, layers: int, heads: int, ffn_channels: int) -> None:
        super().__init__()
        self.position_emb = FirstPosition(channels)
        self.layers = nn.ModuleList(
            EncoderLayer(channels, heads, ffn_channels) for _ in range(layers)
        )
        self.last_ln = nn.LayerNorm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.position_emb(x)
        for layer in self.layers:
            x = layer(x)
        return self.last_ln(x)


class FirstPosition(nn.Module):
    """Adds row 0 of a sinusoidal table to every frame.

    The published code indexes its table by the item of the batch, so a single utterance gets row 0
    everywhere. Its weights expect that, so here every item of a batch gets row 0.
    """

    pe: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.zeros(1, 1, channels)
        row[..., 1::2] = 1.0  # sine and cosine of 0
        self.register_buffer("pe", row)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.pe


class EncoderLayer(nn.Module):
    def __init__(self, channels: int, heads: int, ffn_channels: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(channels)
        self.ln_2 = nn.LayerNorm(channels)
        self.self_attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.ffn = ConvolutionalFeedForward(channels, ffn_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.ln_1(x)
        x = x + self.self_attn(normed, normed, normed, need_weights=False)[0]
        return x + self.ffn(self.ln_2(x))


class ConvolutionalFeedForward(nn.Module):
    def __init__(self, channels: int, ffn_channels: int) -> None:
        super().__init__()
        self.ffn_1 = nn.Conv1d(channels, ffn_channels, _FFN_KERNEL, padding=_FFN_KERNEL // 2)
        self.ffn_2 = nn.Linear(ffn_channels, channels)
        nn.init.normal_(self.ffn_1.weight, std=_FFN_INIT_STD)
        nn.init.normal_(self.ffn_2.weight, std=_FFN_INIT_STD)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.ffn_1(x.transpose(1, 2)).transpose(1, 2)  # (B, T, F)
        return self.ffn_2(F.relu(hidden))
