"""Language-model checkpoints on disk: strict loading of every published layout, and saving.

In: a directory with `config.json`, tokenizer files and `model.safetensors` or shards with an
index, or pickles (`pytorch_model.bin`) that cannot run code; tensors named as the published
training code names them, or as `Qwen2ForCausalLM` does, with or without the names of wrappers.
Out: a model in evaluation mode, its configuration and tokenizer. Nothing is downloaded. Missing,
misshapen and unknown tensors are named in one error.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers.initialization import no_init_weights

from commands.errors import UserError
from formats.checkpoint.language_model_config import (
    CONFIG_FILE,
    LanguageModelConfig,
    read_lm_config,
)
from formats.checkpoint.state_dicts import PICKLE, find_pickles, plain_names, read_state_dict
from formats.checkpoint.tokenizer import (
    SpeechTokens,
    load_tokenizer,
    read_speech_tokens,
    save_tokenizer,
)
from formats.files.atomic import replacing, write_atomically
from train.language_model.mtp import MtpModel
from train.language_model.ntp import NtpModel
from train.tensor_files import read_tensor_file

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PREFIX = "lm_model."
EMBEDDING = PREFIX + "model.embed_tokens.weight"
OUTPUT_LAYER = PREFIX + "lm_head.weight"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_NAMES_SHOWN = 8

LanguageModel = MtpModel | NtpModel
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class LoadedModel:
    """A model loaded from its checkpoint.

    `config.vocab_size` is the number of rows of the embedding table.
    """

    model: LanguageModel
    config: LanguageModelConfig
    tokenizer: Tokenizer
    tokens: SpeechTokens


def make_model(config: LanguageModelConfig, tokens: SpeechTokens) -> LanguageModel:
    """A model with fresh weights, of the kind that `config` describes."""
    return MtpModel(config, tokens) if config.kind == "mtp" else NtpModel(config, tokens)


def load_checkpoint(folder: Path, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """Load a checkpoint directory. Raises `UserError` for anything that does not fit."""
    folder = Path(folder)
    config = read_lm_config(folder)
    tokenizer = load_tokenizer(folder)
    tokens = read_speech_tokens(tokenizer, str(folder), config.streams)
    if config.spk_aware and tokens.placeholder is None:
        raise UserError(f"{folder}: speaker-aware, but the tokenizer has no speaker placeholder")
    tensors = published_names(read_tensors(folder))
    config = _with_embedding_rows(config, tensors, tokens, folder)
    with no_init_weights():
        model = make_model(config, tokens)
    if config.tie_word_embeddings:
        model.lm_model.tie_weights()  # `no_init_weights` skips this
    load_tensors(model, tensors, str(folder))
    return LoadedModel(model.to(dtype).eval(), config, tokenizer, tokens)


def read_tensors(folder: Path) -> Tensors:
    """All tensors of the weights, whole or in shards, by name without wrappers."""
    return plain_names(_read_weights(folder), str(folder))


def _read_weights(folder: Path) -> Tensors:
    if (folder / WEIGHTS_FILE).is_file():
        return _read_file(folder / WEIGHTS_FILE)
    if (folder / INDEX_FILE).is_file():
        files, read = [folder / name for name in _shard_names(folder / INDEX_FILE)], _read_file
    else:
        files, read = find_pickles(folder), read_state_dict
    if not files:
        raise UserError(f"{folder}: holds neither {WEIGHTS_FILE}, {INDEX_FILE} nor {PICKLE}")
    return {name: tensor for path in files for name, tensor in read(path).items()}


def _shard_names(index: Path) -> list[str]:
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{index}: not a safetensors index with a 'weight_map'") from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise UserError(f"{index}: shard {name!r} is not a plain file name")
    return sorted(names)


def _read_file(path: Path) -> Tensors:
    if not path.is_file():
        raise UserError(f"{path}: not found, although the index names it")
    return read_tensor_file(path)


def published_names(tensors: Tensors) -> Tensors:
    """Rename a plain `Qwen2ForCausalLM` checkpoint; drop the rotary tables old versions saved."""
    plain = "model.embed_tokens.weight" in tensors
    return {
        (PREFIX if plain else "") + name: tensor
        for name, tensor in tensors.items()
        if not name.endswith("rotary_emb.inv_freq")
    }


def _with_embedding_rows(
    config: LanguageModelConfig, tensors: Tensors, tokens: SpeechTokens, folder: Path
) -> LanguageModelConfig:
    """The configuration with facts from the tensors: the table's rows, and whether it is tied."""
    if EMBEDDING not in tensors:
        raise UserError(f"{folder}: no tensor {EMBEDDING!r}, so this is no Qwen2 speech model")
    rows = tensors[EMBEDDING].shape[0]
    if tokens.largest >= rows:
        raise UserError(
            f"{folder}: the embedding table has {rows} rows, "
            f"but the tokenizer's speech tokens go up to {tokens.largest}"
        )
    tied = config.tie_word_embeddings or OUTPUT_LAYER not in tensors
    return dataclasses.replace(config, vocab_size=rows, tie_word_embeddings=tied)


def load_tensors(model: LanguageModel, tensors: Tensors, where: str) -> None:
    """Copy `tensors` into `model`; names and shapes must match one to one.

    `tensors` may hold the output layer of a tied model, which is not read.
    """
    expected = stored_tensors(model)
    given = {
        name: tensor for name, tensor in tensors.items() if name in expected or name != OUTPUT_LAYER
    }
    _refuse_mismatch(expected, given, where)
    _refuse_other_index_maps(expected, given, where)
    model.load_state_dict(given, strict=False)


def stored_tensors(model: LanguageModel) -> Tensors:
    """The tensors of a published checkpoint of `model`: all but a tied output layer."""
    tensors = model.state_dict()
    if model.geometry.tie_word_embeddings:
        del tensors[OUTPUT_LAYER]
    return tensors


def _refuse_mismatch(expected: Tensors, given: Tensors, where: str) -> None:
    problems = []
    for what, names in (
        ("missing", sorted(expected.keys() - given.keys())),
        ("unknown", sorted(given.keys() - expected.keys())),
        ("of the wrong shape", _misshapen(expected, given)),
    ):
        if names:
            more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
            problems.append(f"{what}: {', '.join(names[:_NAMES_SHOWN])}{more}")
    if problems:
        raise UserError(f"{where}: tensors do not fit {CONFIG_FILE}; {'; '.join(problems)}")


def _misshapen(expected: Tensors, given: Tensors) -> list[str]:
    return [
        f"{name} {list(given[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]


def _refuse_other_index_maps(expected: Tensors, given: Tensors, where: str) -> None:
    """The integer tensors are index maps; they must agree with the tokenizer."""
    for name, tensor in expected.items():
        if not tensor.is_floating_point() and not torch.equal(tensor, given[name].to(tensor.dtype)):
            raise UserError(f"{where}: {name} disagrees with the ids in the tokenizer")


def save_checkpoint(
    model: LanguageModel,
    tokenizer: Tokenizer,
    folder: Path,
    dtype: str = "float32",
    tensors: Tensors | None = None,
) -> None:
    """Write the published layout into `folder`; each file appears complete or not at all.

    `dtype` is `float32`, `float16` or `bfloat16`; index maps stay integers. `tensors` replace the
    model's own if they were gathered from several processes.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = stored_tensors(model) if tensors is None else dict(tensors)
    if model.geometry.tie_word_embeddings:
        stored.pop(OUTPUT_LAYER, None)
    write_tensors(stored, folder / WEIGHTS_FILE, DTYPES[dtype])
    save_tokenizer(tokenizer, folder, model.geometry.model_max_length)
    text = json.dumps({**model.geometry.to_json(), "dtype": dtype}, indent=2, ensure_ascii=False)
    write_atomically(folder / CONFIG_FILE, f"{text}\n".encode())


def write_tensors(tensors: Tensors, path: Path, dtype: torch.dtype) -> None:
    """Write a safetensors file with floating-point tensors converted to `dtype`.

    The file is streamed to disk, because its bytes would need as much memory again.
    """
    converted = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in tensors.items()
    }
    with replacing(path) as partial:
        save_file(converted, partial, metadata={"format": "pt"})
