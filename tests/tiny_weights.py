"""Weights of the tiny models and codecs, drawn by PyTorch.

In: what tests/tiny_models.py and tests/tiny_codec.py ask for. Out: checkpoints, and a codec itself.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from formats.checkpoint.codec_config import CodecConfig
from formats.checkpoint.language_model_config import CONFIG_FILE
from formats.checkpoint.tokenizer import build_phoneme_tokenizer, read_speech_tokens
from formats.streams import Streams
from tests.tiny_models import CHARACTERS, tiny_config
from train.codec_model.checkpoint import save_codec
from train.codec_model.facodec import FACodec
from train.language_model.checkpoint import (
    PREFIX,
    WEIGHTS_FILE,
    LanguageModel,
    make_model,
    save_checkpoint,
)
from train.language_model.mtp import MtpModel


def write_codec_checkpoint(folder: Path, config: CodecConfig, seed: int) -> None:
    """As `tests.tiny_codec.make_codec_checkpoint`."""
    save_codec(make_codec(config, seed), Path(folder))


def make_codec(config: CodecConfig, seed: int = 0) -> FACodec:
    """A random codec in evaluation mode whose activations bend, neither faint nor overdriven."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        codec = FACodec(config).eval()
        with torch.no_grad():
            for name, parameter in codec.named_parameters():
                if name.endswith((".alpha", ".beta")):
                    parameter.normal_(0.0, 0.3)
                elif parameter.ndim == 3:
                    parameter.normal_(0.0, 0.7 * parameter[0].numel() ** -0.5)
            _hear_prosody(codec)
    return codec


def _hear_prosody(codec: FACodec) -> None:
    """Make the prosody path follow the log-mel, whose values lie around -8."""
    linear = codec.decoder.melspec_linear
    linear.weight.mul_(5.0)
    linear.bias.copy_(8.0 * linear.weight.sum(1))


def write_lm_checkpoint(
    folder: Path,
    *,
    heads: int,
    head_kind: str,
    speaker_aware: bool,
    seed: int,
    dtype: str,
    plain: bool,
    end_bias: float,
    pad_bias: float,
    streams: Streams,
) -> None:
    """As `tests.tiny_models.make_lm_checkpoint`."""
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
