"""Exported language models for tests: tiny checkpoints, both dialects, made once a session."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from export.graph.precisions import GraphNumbers, Precision
from export.language_model.graphs import language_model_graphs
from export.readers.checkpoint import SAFETENSORS_FILE, Checkpoint, open_checkpoint
from formats.streams import FACODEC, Streams
from runtime.bundle.manifest import GraphSpec
from tests.tiny_models import make_lm_checkpoint

if TYPE_CHECKING:
    from train.language_model.checkpoint import LanguageModel

DIALECTS = ("ort", "portable", "basic")
POSITIONS = 288  # room of the portable dialect's caches
MOST_ROWS = 8


@dataclass(frozen=True)
class Recipe:
    """A tiny checkpoint. Biases make <eosp> and <|speech_pad|> likely enough to be met."""

    heads: int = 3
    head_kind: str = "linear"
    speaker_aware: bool = False
    dtype: str = "float32"
    plain: bool = False
    end_bias: float = 0.0
    pad_bias: float = 0.0
    likely_end: float = 1.0  # NTP: factor on the embedding of <eosp>, which is its output weight
    mlp_factor: float = 1.0  # on gate and up of every second layer: massive activations
    streams: Streams = FACODEC

    def __str__(self) -> str:
        kind = "plain" if self.plain else f"{self.heads}-{self.head_kind}"
        speaker = "-speaker" if self.speaker_aware else ""
        name = f"{kind}{speaker}-{self.dtype}-{self.end_bias:g}-{self.pad_bias:g}"
        sizes = "-".join(str(size) for size in self.streams.sizes)
        return name if self.streams == FACODEC else f"{name}-streams-{sizes}"


# One model of each kind; the first has linear heads and knows speakers.
KINDS = (
    Recipe(heads=6, speaker_aware=True),
    Recipe(heads=6, head_kind="mlp"),
    Recipe(heads=6, head_kind="transformer"),
    Recipe(heads=1),
)


@dataclass(frozen=True)
class Export:
    """A checkpoint, its PyTorch model and its saved graphs."""

    checkpoint: Checkpoint
    load_model: Callable[[], LanguageModel]
    folder: Path
    graphs: Mapping[str, GraphSpec]
    dialect: str
    precision: Precision = "fp32"

    @functools.cached_property
    def model(self) -> LanguageModel:
        """Loaded for who compares with it; others need no PyTorch."""
        return self.load_model()


@functools.cache
def tiny_checkpoint(recipe: Recipe) -> Path:
    """Write the checkpoint; it lives as long as the test session."""
    folder = Path(_scratch()) / str(recipe) / f"{recipe.likely_end:g}-{recipe.mlp_factor:g}"
    make_lm_checkpoint(
        folder,
        heads=recipe.heads,
        head_kind=recipe.head_kind,
        speaker_aware=recipe.speaker_aware,
        seed=recipe.heads,
        dtype=recipe.dtype,
        plain=recipe.plain,
        end_bias=recipe.end_bias,
        pad_bias=recipe.pad_bias,
        streams=recipe.streams,
    )
    if recipe.likely_end != 1.0:
        _scale_end(folder, recipe.likely_end)
    if recipe.mlp_factor != 1.0:
        _scale_mlp(folder, recipe.mlp_factor)
    return folder


@functools.cache
def tiny_export(
    recipe: Recipe,
    dialect: str,
    precision: Precision = "fp32",
    positions: int = POSITIONS,
) -> Export:
    """Export the checkpoint of `recipe`, for `positions` at most, with all graphs it has."""
    source = tiny_checkpoint(recipe)
    checkpoint = open_checkpoint(source)
    config = replace(checkpoint.config, max_position_embeddings=positions)
    checkpoint = replace(checkpoint, config=config)
    folder = source / f"{dialect}-{precision}-{positions}"
    folder.mkdir(exist_ok=True)
    graphs = language_model_graphs(
        checkpoint, GraphNumbers(dialect, precision), with_text_head=True
    )
    specs = {graph.name: graph.save(folder, MOST_ROWS) for graph in graphs}
    load_model = functools.partial(_load_model, source)
    return Export(checkpoint, load_model, folder, specs, dialect, precision)


def _load_model(source: Path) -> LanguageModel:
    pytest.importorskip("torch")
    from train.language_model.checkpoint import load_checkpoint

    return load_checkpoint(source).model


def random_speaker(seed: int = 0) -> np.ndarray:
    """A speaker embedding float32 (256)."""
    return np.random.default_rng(seed).standard_normal(256).astype(np.float32)


def _scale_end(folder: Path, factor: float) -> None:
    tokens = open_checkpoint(folder).tokens
    tensors = load_file(folder / SAFETENSORS_FILE)
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    tensors[name][tokens.end] *= factor
    save_file(tensors, folder / SAFETENSORS_FILE, metadata={"format": "pt"})


def _scale_mlp(folder: Path, factor: float) -> None:
    tensors = load_file(folder / SAFETENSORS_FILE)
    for name, tensor in tensors.items():
        if "layers.1.mlp." in name and "down" not in name:
            tensor *= factor
    save_file(tensors, folder / SAFETENSORS_FILE, metadata={"format": "pt"})


@functools.cache
def _scratch_directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="lm-exports-")


def _scratch() -> str:
    return _scratch_directory().name
