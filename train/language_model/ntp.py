"""The next-token-prediction model: a plain Qwen2 over text and interleaved speech tokens.

In: one row of token ids, a frame's codes one after the other (a b c a b c …). Out: hidden states,
scores over the vocabulary, or the training loss. Tensor names are the published ones. This module
knows neither decoding rules (train/language_model/generate.py) nor files.
"""

from __future__ import annotations

from typing import Any

import torch

from formats.checkpoint.language_model_config import LanguageModelConfig
from formats.checkpoint.tokenizer import SpeechTokens
from train.language_model.backbone import SpeechBackbone
from train.language_model.fused_loss import linear_cross_entropy
from train.language_model.mtp import LossReport, LossWeights


class NtpModel(SpeechBackbone):
    """Qwen2 with its own output layer as the only head."""

    def __init__(self, config: LanguageModelConfig, tokens: SpeechTokens) -> None:
        super().__init__(config, tokens.placeholder)
        self.tokens = tokens

    def embed(
        self,
        token_ids: torch.Tensor,
        speech_mask: torch.Tensor,
        speaker: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Input embeddings (B, L, H) of ids (B, L, 1); speech and text are embedded alike."""
        return self.embed_text(token_ids[..., 0], speaker)

    def scores(self, hidden: torch.Tensor, token_ids: torch.Tensor) -> torch.Tensor:
        """Scores (B, L, K) of the K tokens named, from hidden states (B, L, H)."""
        return hidden @ self.lm_model.lm_head.weight[token_ids].t()

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
        """Mean cross-entropy of text and speech together, as in the published code.

        Shapes as in `MtpModel.forward` with N = 1. `weights` is there so that both kinds
        of model are called in one way. With a text weight of 0, text positions are left out;
        otherwise all positions count equally.
        """
        labels = token_ids if labels is None else labels
        hidden = self.hidden_states(self.embed(token_ids, speech_mask, speaker), **attention)
        speech_only = weights is not None and weights.text == 0.0
        where = (loss_mask & speech_mask if speech_only else loss_mask)[:, 1:]
        loss, correct = linear_cross_entropy(
            hidden[:, :-1][where], self.lm_model.lm_head.weight, None, labels[:, 1:, 0][where]
        )
        return LossReport(
            total=loss,
            heads=loss.detach()[None],
            correct=correct[None],
            positions=int(where.sum()),
            text=hidden.new_zeros(()),
            text_positions=0,
        )
