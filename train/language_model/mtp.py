"""The multi-token-prediction model: one hidden state, N speech tokens.

In: N parallel rows of token ids, or their embeddings. Out: hidden states, scores of every
head, or the training loss. Architecture, tensor names and loss are the published ones
(arXiv 2506.12537). It does not know decoding rules (train/language_model/generate.py) or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Cache

from formats.checkpoint.language_model_config import LanguageModelConfig
from formats.checkpoint.tokenizer import SpeechTokens
from train.language_model.backbone import SpeechBackbone
from train.language_model.fused_loss import linear_cross_entropy
from train.language_model.heads import Rotation, SpeechHead, make_head


@dataclass(frozen=True)
class LossWeights:
    """Share of the text and of the speech cross-entropy in the loss (paper: 0.2 and 0.8)."""

    text: float = 0.2
    speech: float = 0.8


@dataclass(frozen=True)
class LossReport:
    """A batch's loss and what it is made of.

    `heads` (N,) holds the mean cross-entropy of each head in nats and `correct` (N,) its right
    first choices out of `positions`; `text` is the mean over `text_positions`.
    """

    total: torch.Tensor
    heads: torch.Tensor
    correct: torch.Tensor
    positions: int
    text: torch.Tensor
    text_positions: int


class MtpModel(SpeechBackbone):
    """Qwen2 backbone with N speech heads in the order a1 b1 c1 a2 b2 c2 …"""

    def __init__(self, config: LanguageModelConfig, tokens: SpeechTokens) -> None:
        super().__init__(config, tokens.placeholder)
        self.tokens = tokens
        self.speech_heads = nn.ModuleList(
            make_head(config, tokens.head_ids(head)) for head in range(config.heads)
        )

    @property
    def heads(self) -> Sequence[SpeechHead]:
        """The speech heads, typed."""
        return cast(Sequence[SpeechHead], self.speech_heads)

    def embed_step(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Mean embedding (S, H) of the N tokens of each step (S, N)."""
        return F.embedding_bag(token_ids, self.embedding.weight, mode="mean")

    def embed(
        self,
        token_ids: torch.Tensor,
        speech_mask: torch.Tensor,
        speaker: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Input embeddings (B, L, H) of the streams (B, L, N).

        Text positions take stream a1's embedding, speech positions (mask true) the mean of all.
        """
        embedded = self.embed_text(token_ids[..., 0], speaker)
        speech = self.embed_step(token_ids[speech_mask])
        return embedded.masked_scatter(speech_mask[..., None], speech.to(embedded.dtype))

    def rotation(self, hidden: torch.Tensor, start: int = 0) -> Rotation:
        """RoPE cosine and sine for the positions of `hidden` (B, L, H), the first being `start`."""
        positions = torch.arange(start, start + hidden.shape[1], device=hidden.device)
        return self.lm_model.model.rotary_emb(hidden, positions[None])

    def head_scores(
        self, hidden: torch.Tensor, start: int = 0, caches: Sequence[Cache] | None = None
    ) -> list[torch.Tensor]:
        """Scores (B, L, outputs) of every head for hidden states (B, L, H) from position `start`.

        `caches` (one per head) continues transformer heads; other heads do not use it.
        """
        rotation = self.rotation(hidden, start)
        return [
            head(hidden, rotation, None if caches is None else caches[i])
            for i, head in enumerate(self.heads)
        ]

    @torch.no_grad()
    def predict_codes(
        self,
        token_ids: torch.Tensor,
        speech_mask: torch.Tensor,
        speaker: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The likeliest code of every head, int64 (B, L, N), at each position given those before.

        Token ids (B, L, N). The first position gets 0. `<eosp>` and the pad are never predicted.
        """
        hidden = self.hidden_states(self.embed(token_ids, speech_mask, speaker))
        scores = self.head_scores(hidden[:, :-1])
        likeliest = [s[..., : self.tokens.end_code(i)].argmax(-1) for i, s in enumerate(scores)]
        codes = torch.stack(likeliest, dim=-1)
        return F.pad(codes, (0, 0, 1, 0))

    def forward(
        self,
        token_ids: torch.Tensor,
        speech_mask: torch.Tensor,
        loss_mask: torch.Tensor,
        speaker: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        weights: LossWeights | None = None,
        **attention: Any,
    ) -> LossReport:
        """The training loss of the streams (B, L, N).

        `loss_mask` (B, L) is true where a token is to be predicted: the answer, no padding.
        `labels` (B, L, N) are the right tokens if some of `token_ids` were replaced.
        """
        labels = token_ids if labels is None else labels
        hidden = self.hidden_states(self.embed(token_ids, speech_mask, speaker), **attention)
        speech = (speech_mask & loss_mask)[:, 1:]
        text = (~speech_mask & loss_mask)[:, 1:]
        heads, correct = self._speech_losses(hidden, speech, labels[:, 1:])
        weights = weights or LossWeights()
        text_loss = self._text_loss(hidden, text, labels[:, 1:, 0], weights.text)
        return LossReport(
            total=weights.text * text_loss + weights.speech * heads.mean(),
            heads=heads.detach(),
            correct=correct,
            positions=int(speech.sum()),
            text=text_loss.detach(),
            text_positions=int(text.sum()),
        )

    def _speech_losses(
        self, hidden: torch.Tensor, where: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy and right answers of each head, both (N,)."""
        rotation = self.rotation(hidden)
        chosen = labels[where]  # (S, N)
        shared = hidden[:, :-1][where] if self.geometry.head_implement != "transformer" else None
        results = []
        for i, head in enumerate(self.heads):
            if shared is not None:
                features = head.features(shared, rotation)
            else:
                features = head.features(hidden, rotation)[:, :-1][where]
            results.append(
                linear_cross_entropy(
                    features,
                    head.projection.weight,
                    head.projection.bias,
                    head.local_labels(chosen[:, i]),
                )
            )
        losses, correct = zip(*results, strict=True)
        return torch.stack(losses), torch.stack(correct)

    def _text_loss(
        self, hidden: torch.Tensor, where: torch.Tensor, labels: torch.Tensor, weight: float
    ) -> torch.Tensor:
        if weight == 0.0:  # saves most of a small model's work
            return hidden.new_zeros(())
        rows = hidden[:, :-1][where]
        return linear_cross_entropy(rows, self.lm_model.lm_head.weight, None, labels[where])[0]
