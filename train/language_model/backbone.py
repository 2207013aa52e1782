"""The Qwen2 backbone and the speaker projection that both kinds of model share.

In: input embeddings (B, L, H). Out: final-norm hidden states (B, L, H). Sequences are padded
on the right and attention is causal, so no position ever sees padding and no mask is built.
Nothing is downloaded: the model is made from the configuration alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import Cache, Qwen2Config, Qwen2ForCausalLM, Qwen2Model
from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention

from formats.checkpoint.language_model_config import LanguageModelConfig

NO_MASK = {"full_attention": None}


def qwen2_config(config: LanguageModelConfig, layers: int | None = None) -> Qwen2Config:
    """The transformers configuration of the backbone, or of a head of `layers` layers."""
    built = Qwen2Config(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=layers or config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        max_position_embeddings=config.max_position_embeddings,
        rms_norm_eps=config.rms_norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        tie_word_embeddings=config.tie_word_embeddings,
    )
    built._attn_implementation = "sdpa"
    return built


def speaker_projection(config: LanguageModelConfig) -> nn.Sequential | None:
    """Speaker embedding (B, C) to one input embedding (B, H); None if the model has none."""
    if not config.spk_aware:
        return None
    return nn.Sequential(
        nn.Linear(config.spk_emb_dim, config.speaker_hidden_size),
        nn.SiLU(),
        nn.Linear(config.speaker_hidden_size, config.hidden_size),
    )


def set_attention(model: nn.Module, name: str) -> None:
    """Use the attention function that transformers calls `name`, also in the layers of heads."""
    for module in model.modules():
        if isinstance(module, Qwen2Attention | Qwen2Model):
            module.config._attn_implementation = name


class SpeechBackbone(nn.Module):
    """What MTP and NTP models have in common. Attributes are named as published tensors are."""

    def __init__(self, config: LanguageModelConfig, placeholder_id: int | None) -> None:
        super().__init__()
        self.geometry = config  # not `config`: the Trainer writes to an attribute of that name
        self.placeholder_id = placeholder_id
        self.lm_model = Qwen2ForCausalLM(qwen2_config(config))
        self.spk_emb_proj = speaker_projection(config)

    @property
    def embedding(self) -> nn.Embedding:
        """The token embedding table (V, H)."""
        return self.lm_model.model.embed_tokens

    def embed_text(self, token_ids: torch.Tensor, speaker: torch.Tensor | None) -> torch.Tensor:
        """Embeddings (B, L, H) of ids (B, L); the speaker (B, C) stands at its placeholder."""
        embedded = self.embedding(token_ids)
        if self.spk_emb_proj is None:
            return embedded
        if speaker is None or self.placeholder_id is None:
            raise ValueError("a speaker-aware model needs a speaker embedding and its placeholder")
        projected = self.spk_emb_proj(speaker.to(embedded.dtype))[:, None]  # (B, 1, H)
        at_placeholder = token_ids.eq(self.placeholder_id)[..., None]
        return torch.where(at_placeholder, projected, embedded)

    def hidden_states(
        self, embeddings: torch.Tensor, cache: Cache | None = None, **attention: Any
    ) -> torch.Tensor:
        """Run the backbone on (B, L, H); with `cache`, L continues what the cache holds.

        `attention` goes to the attention function as it is (see
        train/language_model_training/guided_attention.py).
        """
        return self.lm_model.model(
            inputs_embeds=embeddings,
            attention_mask=NO_MASK,
            past_key_values=cache,
            use_cache=cache is not None,
            **attention,
        ).last_hidden_state
