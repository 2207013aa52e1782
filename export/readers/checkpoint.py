"""A language-model checkpoint, opened without torch.

In: a directory with `config.json`, tokenizer files and weights: safetensors, whole or sharded, or
pickled `.bin` files, which need torch. Out: a `Checkpoint`. Names and shapes of its weights are
checked at once. Values are read when they are needed. Names are those of the published training
code (arXiv 2506.12537) or of a plain `Qwen2ForCausalLM`, with or without prefixes of wrappers
(`formats.checkpoint.state_dicts`). It knows nothing about ONNX.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models

from commands.errors import UserError
from export.readers.pickle_reader import read_pickle
from formats.checkpoint.language_model_config import (
    LanguageModelConfig,
    LengthSettings,
    read_lm_config,
)
from formats.checkpoint.state_dicts import PICKLE, find_pickles, plain_names
from formats.checkpoint.tokenizer import SpeechTokens, load_tokenizer, read_speech_tokens
from formats.safetensors_reader import StoredTensor, read_safetensors, read_sharded_safetensors
from formats.weights import Array, Weight

SAFETENSORS_FILE = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
SPEECH_PREFIX = "lm_model."  # the published training code wraps a Qwen2ForCausalLM
EMBEDDINGS = "model.embed_tokens.weight"
TEXT_HEAD_WEIGHT = "lm_head.weight"
SYMBOL_LENGTH = LengthSettings(frames_per_token=32.0, extra_frames=160)
WORD_LENGTH = LengthSettings(frames_per_token=100.0, extra_frames=160)

_NOT_WEIGHTS = re.compile(
    r"speech_heads\.\d+\.(bias|small_to_orig|orig_to_small)|.*\.rotary_emb\.inv_freq"
)


@dataclass(frozen=True)
class Checkpoint:
    """Config, tokens and weights of one model.

    Names of weights are those of `Qwen2ForCausalLM` ("model.layers.0…", "lm_head…"),
    "speech_heads…" and "spk_emb_proj…", whatever prefix they have in the file.
    """

    folder: Path
    config: LanguageModelConfig
    tokenizer: Tokenizer
    tokens: SpeechTokens
    tensors: Mapping[str, StoredTensor]
    length: LengthSettings  # declared by its config.json, or the usual one

    def weight(self, name: str) -> Weight:
        """A tensor as float32."""
        stored = self.tensors[name]
        return Weight(name, stored.shape, lambda: _as_float32(stored))

    def rows(self, name: str, indices: Sequence[int] | Array, of: str) -> Weight:
        """Some rows of tensor `of`, in the given order, as a float32 weight called `name`."""
        stored, picked = self.tensors[of], np.asarray(indices)
        shape = (len(picked), *stored.shape[1:])
        return Weight(name, shape, lambda: stored.read()[picked].astype(np.float32))

    def has(self, name: str) -> bool:
        return name in self.tensors

    @property
    def output_embeddings(self) -> str:
        """Name of the text head's weight (vocabulary, hidden). Tied weights are the embeddings."""
        untied = self.has(TEXT_HEAD_WEIGHT) and not self.config.tie_word_embeddings
        return TEXT_HEAD_WEIGHT if untied else EMBEDDINGS


def open_checkpoint(folder: str | Path) -> Checkpoint:
    """Open a checkpoint directory and check every tensor's name and shape.

    Raises:
        UserError: a file is missing or damaged, or a tensor is missing, misshapen or unexpected.
    """
    folder = Path(folder)
    config = read_lm_config(folder)
    tokenizer = load_tokenizer(folder)
    tokens = read_speech_tokens(tokenizer, str(folder), config.streams)
    _check_tokens(folder, config, tokens)
    tensors = _without_prefix(plain_names(_open_weights(folder), str(folder)))
    length = config.length or usual_length(tokenizer)
    checkpoint = Checkpoint(folder, config, tokenizer, tokens, tensors, length)
    _check_tensors(checkpoint)
    _check_head_maps(checkpoint)
    return checkpoint


def usual_length(tokenizer: Tokenizer) -> LengthSettings:
    """The bound on speech for a checkpoint that declares none, such as the published ones.

    It depends on what a token is. A phoneme or letter (one entry for each symbol) lasts about 7
    frames of 12.5 ms, a word of a byte-pair vocabulary much longer.
    """
    return SYMBOL_LENGTH if isinstance(tokenizer.model, models.WordLevel) else WORD_LENGTH


def _open_weights(folder: Path) -> dict[str, StoredTensor]:
    if (folder / SAFETENSORS_FILE).is_file():
        return read_safetensors(folder / SAFETENSORS_FILE)
    if (folder / SAFETENSORS_INDEX).is_file():
        return read_sharded_safetensors(folder / SAFETENSORS_INDEX)
    pickles = find_pickles(folder)
    if pickles:
        return {name: tensor for path in pickles for name, tensor in read_pickle(path).items()}
    raise UserError(f"{folder}: no {SAFETENSORS_FILE}, {SAFETENSORS_INDEX} or {PICKLE}")


def _without_prefix(stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    return {name.removeprefix(SPEECH_PREFIX): tensor for name, tensor in stored.items()}


def _as_float32(stored: StoredTensor) -> Array:
    return np.asarray(stored.read()).astype(np.float32, copy=False)


def _check_tokens(folder: Path, config: LanguageModelConfig, tokens: SpeechTokens) -> None:
    if config.heads > config.streams.count and tokens.pad is None:
        raise UserError(f"{folder}: {config.heads} heads, but the tokenizer has no <|speech_pad|>")
    if config.spk_aware and tokens.placeholder is None:
        raise UserError(f"{folder}: speaker-aware, but the tokenizer has no <|placeholder|>")


def _check_tensors(checkpoint: Checkpoint) -> None:
    expected = dict(_expected_shapes(checkpoint))
    for name, shape in expected.items():
        stored = checkpoint.tensors.get(name)
        if stored is None:
            raise UserError(f"{checkpoint.folder}: tensor {name} is missing from the weights")
        if stored.shape != shape:
            raise UserError(f"{stored.where} has shape {list(stored.shape)}, not {list(shape)}")
        if stored.dtype.kind in "iu":
            raise UserError(f"{stored.where} holds integers ({stored.dtype}), not weights")
    for name, stored in checkpoint.tensors.items():
        if name not in expected and not _NOT_WEIGHTS.fullmatch(name):
            raise UserError(f"{stored.where} is unexpected for this config.json")


def _expected_shapes(checkpoint: Checkpoint) -> Iterator[tuple[str, tuple[int, ...]]]:
    config, hidden = checkpoint.config, checkpoint.config.hidden_size
    rows = _embedding_rows(checkpoint)
    yield EMBEDDINGS, (rows, hidden)
    if checkpoint.has(TEXT_HEAD_WEIGHT):
        yield TEXT_HEAD_WEIGHT, (rows, hidden)
    yield "model.norm.weight", (hidden,)
    for layer in range(config.num_hidden_layers):
        yield from _decoder_layer(config, f"model.layers.{layer}")
    if config.kind == "mtp":
        for head in range(config.heads):
            outputs = len(checkpoint.tokens.head_ids(head))
            yield from _speech_head(config, f"speech_heads.{head}", outputs)
    if config.spk_aware:
        yield from _linear("spk_emb_proj.0", config.spk_emb_dim, config.speaker_hidden_size)
        yield from _linear("spk_emb_proj.2", config.speaker_hidden_size, hidden)


def _embedding_rows(checkpoint: Checkpoint) -> int:
    stored = checkpoint.tensors.get(EMBEDDINGS)
    if stored is None:
        raise UserError(f"{checkpoint.folder}: tensor {EMBEDDINGS} is missing from the weights")
    rows = stored.shape[0] if stored.shape else 0
    largest = max(checkpoint.tokenizer.get_vocab().values())
    if rows <= largest:
        raise UserError(
            f"{stored.where} has {rows} rows, but the tokenizer's ids go up to {largest}; "
            "the tokenizer belongs to another checkpoint"
        )
    return rows


def _decoder_layer(config: LanguageModelConfig, name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner = config.hidden_size, config.intermediate_size
    kv_channels = config.num_key_value_heads * config.head_dim
    yield f"{name}.input_layernorm.weight", (hidden,)
    yield f"{name}.post_attention_layernorm.weight", (hidden,)
    yield from _linear(f"{name}.self_attn.q_proj", hidden, hidden)
    yield from _linear(f"{name}.self_attn.k_proj", hidden, kv_channels)
    yield from _linear(f"{name}.self_attn.v_proj", hidden, kv_channels)
    yield f"{name}.self_attn.o_proj.weight", (hidden, hidden)
    yield f"{name}.mlp.gate_proj.weight", (inner, hidden)
    yield f"{name}.mlp.up_proj.weight", (inner, hidden)
    yield f"{name}.mlp.down_proj.weight", (hidden, inner)


def _speech_head(
    config: LanguageModelConfig, name: str, outputs: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden = config.hidden_size
    if config.head_implement == "linear":
        yield from _linear(f"{name}.head", hidden, outputs)
    elif config.head_implement == "mlp":
        yield from _linear(f"{name}.head.0", hidden, 2 * hidden)
        yield from _linear(f"{name}.head.2", 2 * hidden, outputs)
    else:
        for layer in range(config.head_transformers_layer):
            yield from _decoder_layer(config, f"{name}.head_layers.{layer}")
        yield f"{name}.head_norm.weight", (hidden,)
        yield f"{name}.head_norm.bias", (hidden,)
        yield from _linear(f"{name}.head_proj", hidden, outputs)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _check_head_maps(checkpoint: Checkpoint) -> None:
    """Refuse stored token ids of heads that differ from the tokenizer's."""
    for head in range(checkpoint.config.heads):
        stored = checkpoint.tensors.get(f"speech_heads.{head}.small_to_orig")
        if stored is not None and stored.read().tolist() != [*checkpoint.tokens.head_ids(head)]:
            raise UserError(
                f"{stored.where} disagrees with the tokenizer; they do not belong together"
            )
