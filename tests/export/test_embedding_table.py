"""The embedding table: exact for models in float32, half as large for all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from commands.errors import UserError
from export.bundle.tables import EMBEDDINGS_FILE, write_embeddings
from export.graph.precisions import Precision
from export.readers.checkpoint import EMBEDDINGS, Checkpoint, open_checkpoint
from tests.export.lm_exports import Recipe, tiny_checkpoint
from tests.tolerances import limit
from train.language_model.checkpoint import load_checkpoint

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8", "fp8", "int4")


def checkpoint_in(dtype: str) -> Checkpoint:
    return open_checkpoint(tiny_checkpoint(Recipe(heads=3, dtype=dtype)))


def written(checkpoint: Checkpoint, folder: Path, precision: Precision) -> np.ndarray:
    write_embeddings(checkpoint, folder, precision)
    return np.load(folder / EMBEDDINGS_FILE)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_types_and_values(tmp_path: Path, dtype: str, precision: Precision) -> None:
    checkpoint = checkpoint_in(dtype)
    exact = checkpoint.weight(EMBEDDINGS).read()
    table = written(checkpoint, tmp_path, precision)
    assert table.dtype == ("<f4" if precision == "fp32" and dtype != "float16" else "<f2")
    if table.dtype == np.float32 or dtype == "float16":
        np.testing.assert_array_equal(table, exact)
    places = 2.0**-11 if dtype == "float32" else 0.0  # bfloat16's 8 bits fit into 11
    error = np.abs(table.astype(np.float32) - exact)
    assert (error <= np.maximum(places * np.abs(exact), 2.0**-25)).all()


def test_hidden_states_hardly_change(tmp_path: Path) -> None:
    source = tiny_checkpoint(Recipe(heads=3))
    checkpoint, model = open_checkpoint(source), load_checkpoint(source).model
    exact = checkpoint.weight(EMBEDDINGS).read()
    table = written(checkpoint, tmp_path, "int4").astype(np.float32)
    ids = np.random.default_rng(0).integers(0, len(table), 64)
    with torch.inference_mode():
        hidden, expected = (
            model.hidden_states(torch.from_numpy(rows[ids][None])).numpy()
            for rows in (table, exact)
        )
    difference = np.abs(hidden - expected).max() / np.abs(expected).max()
    assert 0 < difference <= limit("embedding table", "fp16", "numpy")


def test_values_beyond_float16_are_refused(tmp_path: Path) -> None:
    checkpoint = checkpoint_in("bfloat16")
    stored = checkpoint.tensors[EMBEDDINGS]
    large = np.array(stored.read())
    large[-1, 5] = 1e5
    loud = replace(stored, read=lambda: large)
    checkpoint = replace(checkpoint, tensors={**checkpoint.tensors, EMBEDDINGS: loud})
    with pytest.raises(UserError, match=r"embed_tokens\.weight: 9\.98e\+04 is beyond float16"):
        write_embeddings(checkpoint, tmp_path, "int4")
    assert written(checkpoint, tmp_path, "fp32")[-1, 5] == large[-1, 5]
