"""Greedy codes equal PyTorch's until the very last position of a cache of fixed capacity."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.checks.differences import relative_difference
from export.checks.lm_parity import GreedyDecoder, generate
from export.graph.runner import GraphRunner
from runtime.bundle.names import BACKBONE, HIDDEN, INPUTS_EMBEDS, PAST_LENGTH, STANDARD
from tests.export.lm_exports import Export, Recipe, tiny_export
from tests.tolerances import limit

S_MAX = 96
MODELS = [
    Recipe(heads=heads, head_kind=kind)
    for heads in (3, 6, 12)
    for kind in ("linear", "mlp", "transformer")
] + [Recipe(heads=1)]


def long_prompt(export: Export, positions: int) -> list[int]:
    tokens = export.checkpoint.tokens
    text = np.random.default_rng(positions).integers(0, 50, positions - 2).tolist()
    return [tokens.bos, *text, tokens.start]


@pytest.mark.parametrize("dialect", STANDARD)
@pytest.mark.parametrize("prompt_positions", [41, 89])
@pytest.mark.parametrize("recipe", MODELS, ids=str)
def test_frames_until_the_cache_is_full(
    recipe: Recipe, prompt_positions: int, dialect: str
) -> None:
    """A short prompt with many steps, and a long one with few; the last step fills the cache."""
    export = tiny_export(recipe, dialect, positions=S_MAX)
    prompt, steps = long_prompt(export, prompt_positions), S_MAX - prompt_positions + 1
    decoder = GreedyDecoder(export.checkpoint, export.folder, export.graphs, S_MAX)
    decoded = decoder.decode(prompt, None, 1.0, steps)
    expected = generate(export.model, prompt, None, 1.0, steps)
    np.testing.assert_array_equal(decoded.frames, expected.frames)
    assert decoded.steps == expected.steps


@pytest.mark.parametrize("dialect", STANDARD)
@pytest.mark.parametrize("chunks", [(S_MAX,), (S_MAX - 1, 1), (60, 35, 1)], ids=str)
def test_hidden_states_until_the_cache_is_full(chunks: tuple[int, ...], dialect: str) -> None:
    export = tiny_export(Recipe(heads=6), dialect, positions=S_MAX)
    x = np.random.default_rng(0).standard_normal((1, S_MAX, 64)).astype(np.float32)
    runner = GraphRunner(export.folder, export.graphs[BACKBONE])
    outputs, start = [], 0
    for size in chunks:
        part = x[:, start : start + size]
        outputs.append(runner.run({INPUTS_EMBEDS: part, PAST_LENGTH: np.array([start])})[HIDDEN])
        start += size
    with torch.inference_mode():
        expected = export.model.hidden_states(torch.from_numpy(x)).numpy()
    difference = relative_difference(np.concatenate(outputs, axis=1), expected)
    assert difference <= limit(BACKBONE, "fp32", dialect)
