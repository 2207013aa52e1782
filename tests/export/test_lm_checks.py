"""The checks of an export pass on good graphs and fail on bad ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from export.checks.lm_checks import check_language_model
from export.checks.lm_parity import check_language_model_parity
from export.graph.precisions import GraphNumbers
from export.language_model.graphs import language_model_graphs
from export.readers.checkpoint import SAFETENSORS_FILE, Checkpoint, open_checkpoint
from runtime.bundle.manifest import Check, GraphSpec
from tests.export.lm_exports import DIALECTS, Recipe, tiny_checkpoint, tiny_export

NORM = "lm_model.model.layers.1.input_layernorm.weight"


def failures(checks: Iterable[Check]) -> set[str]:
    return {check.name for check in checks if not check.measured <= check.limit}


def damaged_copy(folder: Path, factor: float) -> Path:
    """A checkpoint with one norm weight multiplied."""
    shutil.copytree(tiny_checkpoint(Recipe(heads=3)), folder)
    tensors = load_file(folder / SAFETENSORS_FILE)
    tensors[NORM][5] *= factor
    save_file(tensors, folder / SAFETENSORS_FILE)
    return folder


def export(checkpoint: Checkpoint, folder: Path) -> dict[str, GraphSpec]:
    return {
        graph.name: graph.save(folder)
        for graph in language_model_graphs(checkpoint, GraphNumbers("ort"))
    }


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("recipe", [Recipe(heads=6, speaker_aware=True), Recipe(heads=1)], ids=str)
def test_good_graphs_pass(recipe: Recipe, dialect: str) -> None:
    pytest.importorskip("torch")
    good = tiny_export(recipe, dialect)
    checks = check_language_model(good.checkpoint, good.folder, good.graphs)
    parity = check_language_model_parity(good.checkpoint, good.folder, good.graphs)
    assert len(checks) >= 6
    assert len(parity) >= 5
    assert failures([*checks, *parity]) == set()


def test_weights_that_are_not_finite_are_found(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(damaged_copy(tmp_path / "checkpoint", np.nan))
    graphs = export(checkpoint, tmp_path)
    found = failures(check_language_model(checkpoint, tmp_path, graphs))
    assert "backbone: values that are not finite" in found


def test_graphs_of_other_weights_are_found(tmp_path: Path) -> None:
    """One weight of thousands is 1 % off: too little to hear, and yet found."""
    pytest.importorskip("torch")
    other = open_checkpoint(damaged_copy(tmp_path / "other", 1.01))
    graphs = export(other, tmp_path)
    original = open_checkpoint(tiny_checkpoint(Recipe(heads=3)))
    assert failures(check_language_model(other, tmp_path, graphs)) == set()
    found = failures(check_language_model_parity(original, tmp_path, graphs))
    assert {f"backbone = PyTorch, {length} positions" for length in (1, 17, 64)} <= found
