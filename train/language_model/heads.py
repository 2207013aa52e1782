"""The speech heads of an MTP model: hidden state in, scores over one stream's tokens out.

A head's outputs are local: the codes of its stream, then `<eosp>`, then, for heads of the second
and later frames, `<|speech_pad|>`. Two buffers map local ids to vocabulary ids and back. Modules
and buffers have the names of published checkpoints. A head does not know which tokens other heads
chose.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import Cache
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from formats.checkpoint.language_model_config import LanguageModelConfig
from formats.checkpoint.prompts import IGNORED_LABEL
from train.language_model.backbone import qwen2_config

Rotation = tuple[torch.Tensor, torch.Tensor]  # cosine and sine, each (1, L, head_dim)


class SpeechHead(nn.Module):
    """Index maps of a head; subclasses add `features` and `projection`."""

    bias: torch.Tensor
    small_to_orig: torch.Tensor
    orig_to_small: torch.Tensor

    def __init__(self, token_ids: Sequence[int]) -> None:
        super().__init__()
        vocabulary_ids = torch.tensor(token_ids, dtype=torch.int64)
        first = vocabulary_ids.min()
        local = torch.full((max(token_ids) - min(token_ids) + 2,), IGNORED_LABEL)
        local[vocabulary_ids - first] = torch.arange(len(token_ids))
        self.register_buffer("bias", first)  # the smallest vocabulary id, where the map starts
        self.register_buffer("small_to_orig", vocabulary_ids)
        self.register_buffer("orig_to_small", local)

    @property
    def outputs(self) -> int:
        """How many tokens the head chooses from."""
        return self.small_to_orig.shape[0]

    def local_labels(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Vocabulary ids to local ids; ids of other heads become -100."""
        last = self.orig_to_small.shape[0] - 1  # always holds -100
        offset = token_ids - self.bias
        return self.orig_to_small[torch.where((offset < 0) | (offset > last), last, offset)]

    @property
    def projection(self) -> nn.Linear:
        """The last linear layer, `features` to scores."""
        raise NotImplementedError

    def features(
        self, hidden: torch.Tensor, rotation: Rotation, cache: Cache | None = None
    ) -> torch.Tensor:
        """The input of `projection`, from hidden states (B, L, H)."""
        raise NotImplementedError

    def forward(
        self, hidden: torch.Tensor, rotation: Rotation, cache: Cache | None = None
    ) -> torch.Tensor:
        """Scores (B, L, outputs)."""
        return self.projection(self.features(hidden, rotation, cache))


class LinearHead(SpeechHead):
    """One linear layer with bias, the default."""

    def __init__(self, config: LanguageModelConfig, token_ids: Sequence[int]) -> None:
        super().__init__(token_ids)
        self.head = nn.Linear(config.hidden_size, self.outputs)

    @property
    def projection(self) -> nn.Linear:
        return self.head

    def features(
        self, hidden: torch.Tensor, rotation: Rotation, cache: Cache | None = None
    ) -> torch.Tensor:
        return hidden


class MlpHead(SpeechHead):
    """Linear H to 2H, SiLU, linear."""

    def __init__(self, config: LanguageModelConfig, token_ids: Sequence[int]) -> None:
        super().__init__(token_ids)
        width = 2 * config.hidden_size
        self.head = nn.Sequential(
            nn.Linear(config.hidden_size, width), nn.SiLU(), nn.Linear(width, self.outputs)
        )

    @property
    def projection(self) -> nn.Linear:
        last = self.head[2]
        assert isinstance(last, nn.Linear)
        return last

    def features(
        self, hidden: torch.Tensor, rotation: Rotation, cache: Cache | None = None
    ) -> torch.Tensor:
        return self.head[1](self.head[0](hidden))


class TransformerHead(SpeechHead):
    """Qwen2 decoder layers over the hidden states of all positions, LayerNorm, linear.

    Causal over text and speech alike, so decoding needs a key-value cache per head, filled
    beginning with the prompt. (The published `generate` has no such cache and decodes these heads
    wrongly.)
    """

    def __init__(self, config: LanguageModelConfig, token_ids: Sequence[int]) -> None:
        super().__init__(token_ids)
        layer_config = qwen2_config(config, config.head_transformers_layer)
        self.head_layers = nn.ModuleList(
            Qwen2DecoderLayer(layer_config, i) for i in range(config.head_transformers_layer)
        )
        self.head_norm = nn.LayerNorm(config.hidden_size, config.rms_norm_eps)
        self.head_proj = nn.Linear(config.hidden_size, self.outputs)

    @property
    def projection(self) -> nn.Linear:
        return self.head_proj

    def features(
        self, hidden: torch.Tensor, rotation: Rotation, cache: Cache | None = None
    ) -> torch.Tensor:
        for layer in self.head_layers:
            hidden = layer(
                hidden,
                position_embeddings=rotation,
                past_key_values=cache,
                use_cache=cache is not None,
            )
        return self.head_norm(hidden)


_KINDS = {"linear": LinearHead, "mlp": MlpHead, "transformer": TransformerHead}


def make_head(config: LanguageModelConfig, token_ids: Sequence[int]) -> SpeechHead:
    """The head of the kind that the configuration names."""
    return _KINDS[config.head_implement](config, token_ids)
