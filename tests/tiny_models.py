"""Tiny random language-model checkpoints in the published layout.

Dimensions are pairwise distinct, so that swapped axes cannot hide: hidden 64 (4 query and 2
key-value heads of 16), MLP 112, 3 layers. Texts are spelt character by character.
"""

from __future__ import annotations

from pathlib import Path

from formats.checkpoint.language_model_config import LanguageModelConfig
from formats.streams import FACODEC, Streams
from tests.torch_elsewhere import call_with_torch

CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;?!'\"-\n"


def tiny_config(
    heads: int = 3,
    head_kind: str = "linear",
    speaker_aware: bool = False,
    vocab_size: int = 4000,
    streams: Streams = FACODEC,
) -> LanguageModelConfig:
    """Geometry of a tiny model; `vocab_size` must cover its tokenizer."""
    return LanguageModelConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        intermediate_size=112,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_theta=1e6,
        max_position_embeddings=2048,
        medusa_num_heads=heads,
        head_implement=head_kind,
        head_transformers_layer=2,
        spk_aware=speaker_aware,
        model_max_length=2048,
        streams=streams,
    )


def make_lm_checkpoint(
    folder: Path,
    heads: int = 3,
    head_kind: str = "linear",
    speaker_aware: bool = False,
    seed: int = 0,
    dtype: str = "float32",
    plain: bool = False,
    end_bias: float = 0.0,
    pad_bias: float = 0.0,
    streams: Streams = FACODEC,
) -> Path:
    """Write a random checkpoint; `heads=1` is NTP, `plain` a bare `Qwen2ForCausalLM` one (NTP).

    `end_bias` and `pad_bias` are added to the scores of `<eosp>` and `<|speech_pad|>` in every
    head that has them (MTP only), to make them likely.
    """
    call_with_torch(
        "write_lm_checkpoint",
        folder,
        heads=heads,
        head_kind=head_kind,
        speaker_aware=speaker_aware,
        seed=seed,
        dtype=dtype,
        plain=plain,
        end_bias=end_bias,
        pad_bias=pad_bias,
        streams=streams,
    )
    return Path(folder)
