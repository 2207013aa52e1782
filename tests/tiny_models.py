"""Tiny random language-model checkpoints in the published layout.

Dimensions are pairwise distinct, so that swapped axes cannot hide: hidden 64 (4 query and 2
key-value heads of 16), MLP 112, 3 layers. Texts are spelt character by character.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from formats.checkpoint.language_model_config import CONFIG_FILE, LanguageModelConfig
from formats.checkpoint.tokenizer import build_phoneme_tokenizer, read_speech_tokens
from formats.streams import FACODEC, Streams
from train.language_model.checkpoint import (
    PREFIX,
    WEIGHTS_FILE,
    LanguageModel,
    make_model,
    save_checkpoint,
)
from train.language_model.mtp import MtpModel

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
    heads = 1 if plain else heads
    tokenizer = build_phoneme_tokenizer([CHARACTERS], mtp=heads > 1, streams=streams)
    tokens = read_speech_tokens(tokenizer, str(folder), streams)
    rows = tokenizer.get_vocab_size() + 5  # more rows than tokens, as real tables have
    config = tiny_config(heads, head_kind, speaker_aware and not plain, rows, streams)
    generator = torch.Generator().manual_seed(seed)
    model = make_model(config, tokens)
    _randomize(model, generator)
    if isinstance(model, MtpModel):
        _bias_special_tokens(model, end_bias, pad_bias)
    save_checkpoint(model, tokenizer, Path(folder), dtype)
    if plain:
        _make_plain(Path(folder))
    return Path(folder)


@torch.no_grad()
def _randomize(model: LanguageModel, generator: torch.Generator) -> None:
    """Weights large enough that the argmax of every step is clear and differs between steps."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            parameter.copy_(1.0 + 0.1 * noise)
        elif "embed_tokens" in name:
            parameter.copy_(0.5 * noise)
        elif parameter.ndim == 2:
            parameter.copy_(noise * 1.5 / parameter.shape[1] ** 0.5)
        else:
            parameter.copy_(0.1 * noise)


@torch.no_grad()
def _bias_special_tokens(model: MtpModel, end_bias: float, pad_bias: float) -> None:
    for index, head in enumerate(model.heads):
        head.projection.bias[model.tokens.end_code(index)] += end_bias
        if head.outputs > model.tokens.pad_code(index):
            head.projection.bias[model.tokens.pad_code(index)] += pad_bias


def _make_plain(folder: Path) -> None:
    """Rewrite an NTP checkpoint as transformers' own `Qwen2ForCausalLM` would be saved."""
    tensors = load_file(folder / WEIGHTS_FILE)
    save_file(
        {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()},
        folder / WEIGHTS_FILE,
        metadata={"format": "pt"},
    )
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    ours = ("spk_aware", "spk_emb_dim", "text_frontend", "prompts", "model_max_length")
    config = {key: value for key, value in config.items() if key not in ours}
    config["architectures"] = ["Qwen2ForCausalLM"]
    (folder / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
