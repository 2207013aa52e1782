"""The model before its first step, with weights that are random, of a base model, or of a codec.

In: the settings of a run and a tokenizer. Out: a model with its initial weights. From scratch,
layers start with a fixed gain. From a codec, speech embeddings start as its projected code vectors,
and each linear head as the code vectors in a random direction, so that tokens that sound alike
start alike. The biases of new heads start at the log frequencies of their tokens.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn

from commands.errors import UserError
from formats.checkpoint.codec_config import CodecConfig, read_codec_config
from formats.checkpoint.language_model_config import LanguageModelConfig, read_lm_config
from formats.checkpoint.state_dicts import plain_names
from formats.checkpoint.tokenizer import read_speech_tokens
from formats.streams import FACODEC, Streams
from train.data.examples import Example
from train.language_model.checkpoint import (
    EMBEDDING,
    PREFIX,
    LanguageModel,
    Tensors,
    make_model,
    published_names,
    read_tensors,
)
from train.language_model.mtp import MtpModel
from train.language_model_training.settings import (
    LmSettings,
    ModelSettings,
    scratch_config,
    with_speech,
)
from train.language_model_training.size import report_size

_FREQUENCY_SAMPLE = 2000  # examples that the initial head biases are counted on
_MATRIX_GAIN = 0.7
_TEXT_EMBEDDING_STD = 0.5
_SPEECH_EMBEDDING_STD = 0.8
_SPEECH_PARTS = ("speech_heads.", "spk_emb_proj.")
_RESIDUAL_OUTPUTS = ("o_proj.weight", "down_proj.weight")
_CONTENT_QUANTIZER, _PROSODY_QUANTIZER = "quantizer.1.layers", "quantizer.0.layers"  # as published


def build_model(
    settings: LmSettings, tokenizer: Tokenizer, streams: Streams = FACODEC
) -> LanguageModel:
    """The model with its initial weights."""
    torch.manual_seed(settings.seed)
    chosen = settings.model
    tokens = read_speech_tokens(tokenizer, chosen.base_model or chosen.tokenizer, streams)
    if chosen.base_model is None:
        config = scratch_config(chosen, tokenizer.get_vocab_size(), "model", streams)
        report_size(settings, config, tokens)
        model = make_model(config, tokens)
        initialize_from_scratch(model, text_output=settings.text_weight > 0)
    else:
        base = Path(chosen.base_model)
        config = grown_config(chosen, base, tokenizer.get_vocab_size(), streams)
        report_size(settings, config, tokens)
        model = make_model(config, tokens)
        initialize_from_base(model, base)
    if chosen.init_from_codec is not None:
        initialize_from_codec(model, Path(chosen.init_from_codec))
    if settings.text_weight == 0 and isinstance(model, MtpModel):
        _freeze_own_output_layer(model)
    return model


def _freeze_own_output_layer(model: MtpModel) -> None:
    """Distributed training stops at a layer that no loss reaches: an untied text output layer."""
    if not model.geometry.tie_word_embeddings:
        model.lm_model.lm_head.weight.requires_grad_(False)


def prepare_heads(settings: LmSettings, model: LanguageModel, examples: list[Example]) -> None:
    """Start the biases of new heads at the tokens' log frequencies."""
    if isinstance(model, MtpModel) and not has_trained_heads(settings.model):
        stride = max(1, len(examples) // _FREQUENCY_SAMPLE)
        set_biases_to_frequencies(model, examples[::stride])


@torch.no_grad()
def initialize_from_scratch(model: LanguageModel, *, text_output: bool) -> None:
    """Random matrices with variance gain² / inputs, residual outputs smaller by sqrt(2 layers).

    The embedding table starts small if it is also trained as the output layer (with `text_output`,
    and in every NTP model); otherwise the first scores would be far too confident.
    """
    geometry = model.geometry
    depth = math.sqrt(2 * geometry.num_hidden_layers)
    is_output = text_output or geometry.kind == "ntp"
    embedding_std = geometry.hidden_size**-0.5 if is_output else _TEXT_EMBEDDING_STD
    for name, parameter in model.named_parameters():
        if "embed_tokens" in name:
            nn.init.normal_(parameter, std=embedding_std)
        elif parameter.ndim == 2:
            std = _MATRIX_GAIN / math.sqrt(parameter.shape[1])
            nn.init.normal_(parameter, std=std / depth if name.endswith(_RESIDUAL_OUTPUTS) else std)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


@torch.no_grad()
def initialize_from_base(model: LanguageModel, folder: Path) -> None:
    """Copy a base model's backbone, and those speech heads and projections whose shapes agree.

    New vocabulary rows are random, with the mean and deviation of its own rows.
    """
    stored = published_names(read_tensors(folder))
    wanted = {n: t for n, t in model.state_dict().items() if n.startswith(PREFIX)}
    if model.geometry.tie_word_embeddings:
        wanted.pop(PREFIX + "lm_head.weight")
    for name, tensor in wanted.items():
        if name not in stored:
            raise UserError(f"{folder}: the base model has no tensor {name!r}")
        old = stored[name].to(tensor.dtype)
        if old.shape[1:] != tensor.shape[1:]:
            raise UserError(f"{folder}: {name!r} is {list(old.shape)}, not {list(tensor.shape)}")
        tensor[: len(old)] = old[: len(tensor)]
        if len(tensor) > len(old):
            grown = tensor[len(old) :]
            grown.copy_(old.mean(0) + old.std(0) * torch.randn_like(grown))
    _copy_speech_parts(model, stored)
    if not isinstance(model, MtpModel) and read_lm_config(folder).kind == "mtp":
        _tame_scores(model)


def _tame_scores(model: LanguageModel) -> None:
    """Scale the first scores to a deviation of one. A multi-token model never scores with its
    embeddings, so they may have any size."""
    norm, width = model.lm_model.model.norm.weight, model.geometry.hidden_size
    deviation = float(norm.square().mean().sqrt() * model.embedding.weight.std()) * width**0.5
    norm.div_(deviation)


def _copy_speech_parts(model: LanguageModel, stored: Tensors) -> None:
    """Copy the speech heads and the speaker projection that have equal shapes."""
    for name, tensor in model.state_dict().items():
        is_weight = name.startswith(_SPEECH_PARTS) and tensor.is_floating_point()
        if is_weight and name in stored and stored[name].shape == tensor.shape:
            tensor.copy_(stored[name])


def has_trained_heads(settings: ModelSettings) -> bool:
    """Whether the base model has speech heads."""
    base = settings.base_model
    return base is not None and read_lm_config(Path(base)).kind == "mtp"


def grown_config(
    settings: ModelSettings, folder: Path, token_count: int, streams: Streams
) -> LanguageModelConfig:
    """A base model's configuration with heads, and rows for its own and for all new tokens."""
    base = dataclasses.replace(read_lm_config(folder), streams=streams)
    config = with_speech(base, settings, str(folder))
    stored = published_names(read_tensors(folder))
    if EMBEDDING not in stored:
        raise UserError(f"{folder}: no tensor {EMBEDDING.removeprefix(PREFIX)!r}: not Qwen2")
    return dataclasses.replace(config, vocab_size=max(token_count, stored[EMBEDDING].shape[0]))


@torch.no_grad()
def initialize_from_codec(model: LanguageModel, folder: Path) -> None:
    """Speech embeddings and, in MTP models with linear heads, head weights from code vectors."""
    books = _read_codebooks(model.geometry, folder)
    scale = float(model.embedding.weight.std()) / _TEXT_EMBEDDING_STD
    scale *= _SPEECH_EMBEDDING_STD * _mean_gain(model)
    for (codes, projection), ids in zip(books, model.tokens.codes, strict=True):
        rows = _to_width(codes @ projection.t(), model.geometry.hidden_size)
        model.embedding.weight[torch.tensor(ids)] = rows / rows.std() * scale
    if isinstance(model, MtpModel) and model.geometry.head_implement == "linear":
        _initialize_heads(model, [codes for codes, _ in books])


def _mean_gain(model: LanguageModel) -> float:
    """Makes up for the mean over N tokens, which shrinks embeddings. Frames of a step resemble each
    other, so more than two of them count as two."""
    if model.geometry.kind == "ntp":
        return 1.0
    geometry = model.geometry
    return math.sqrt(geometry.streams.count * min(geometry.frames_per_step, 2))


def _initialize_heads(model: MtpModel, books: Sequence[torch.Tensor]) -> None:
    width, channels = model.geometry.hidden_size, books[0].shape[1]
    directions = torch.linalg.qr(torch.randn(width, width))[0]
    for index, head in enumerate(model.heads):
        first = channels * (index % (width // channels))
        block = directions[first : first + channels]  # (D, H), orthonormal rows
        codes = books[index % len(books)]
        head.projection.weight.zero_()
        head.projection.weight[: len(codes)] = codes @ block


def _read_codebooks(
    geometry: LanguageModelConfig, folder: Path
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The codebook of each stream. Raises `UserError` for a codec of other streams."""
    tensors, config = _codec_tensors(folder), read_codec_config(folder)
    if config.streams != geometry.streams:
        raise UserError(
            f"{folder}: has streams of {config.streams}, but the tokens have {geometry.streams}; "
            "'init_from_codec' must name the codec that made the tokens"
        )
    return [_codebook(tensors, name, folder) for name in _quantizer_names(config)]


def _quantizer_names(config: CodecConfig) -> list[str]:
    """Where the codebook of each stream is in a codec checkpoint."""
    content, prosody = range(config.content_codebooks), range(config.prosody_codebooks)
    return [
        *(f"{_CONTENT_QUANTIZER}.{index}" for index in content),
        *(f"{_PROSODY_QUANTIZER}.{index}" for index in prosody),
    ]


def _codec_tensors(folder: Path) -> Tensors:
    """The decoder's tensors of a codec directory of this project."""
    path = folder / "codec.safetensors"
    if not path.is_file():
        raise UserError(f"{path}: not found; 'init_from_codec' names a codec directory")
    stored = plain_names(load_file(path), str(path))
    return {n.removeprefix("decoder."): t for n, t in stored.items() if n.startswith("decoder.")}


def _codebook(tensors: Tensors, name: str, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit code vectors (codes, D) and the projection (C, D) that decodes them."""
    try:
        codes = tensors[f"{name}._codebook.weight"].float()
        projection = tensors[f"{name}.out_proj.weight"].float()
    except KeyError as error:
        raise UserError(f"{folder}: the codec has no tensor decoder.{error.args[0]}") from None
    return nn.functional.normalize(codes, dim=1), projection


def _to_width(rows: torch.Tensor, width: int) -> torch.Tensor:
    """Map rows (K, D) to `width` channels by a random isometry, if they have another width."""
    if rows.shape[1] == width:
        return rows
    side = max(rows.shape[1], width)
    return rows @ torch.linalg.qr(torch.randn(side, side))[0][: rows.shape[1], :width]


@torch.no_grad()
def set_biases_to_frequencies(model: MtpModel, examples: Iterable[Example]) -> None:
    """Set the biases of the heads' last layers to the log frequency of their tokens."""
    counts = [np.ones(head.outputs) for head in model.heads]
    maps = [head.local_labels for head in model.heads]
    for example in examples:
        steps = torch.from_numpy(example.token_ids[example.speech_mask & example.loss_mask]).long()
        for index, to_local in enumerate(maps):
            local = to_local(steps[:, index])
            counts[index] += np.bincount(local[local >= 0], minlength=len(counts[index]))
    for head, count in zip(model.heads, counts, strict=True):
        head.projection.bias.copy_(torch.from_numpy(np.log(count / count.sum())))
