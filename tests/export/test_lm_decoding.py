"""Frames that come out of the graphs are those of the PyTorch reference, code by code."""

from __future__ import annotations

import numpy as np
import pytest

from export.checks.lm_parity import GreedyDecoder, GreedyFrames, generate, some_prompt
from tests.export.lm_exports import DIALECTS, Export, Recipe, random_speaker, tiny_export
from tests.tiny_codec import OTHER_STREAMS

FRAMES = 24  # enough for codes to come again, which is when a penalty shows
PENALTIES = (1.0, 1.2)
HEAD_KINDS = ("linear", "mlp", "transformer")
STOPPING = {"linear": 2.5, "mlp": 2.0, "transformer": 2.5}  # bias of <eosp>: stops midway

MODELS = [
    Recipe(heads=heads, head_kind=kind, speaker_aware=speaker_aware)
    for heads in (3, 6, 12)
    for kind in HEAD_KINDS
    for speaker_aware in (False, True)
] + [Recipe(heads=1), Recipe(heads=1, speaker_aware=True), Recipe(plain=True)]
MODELS += [
    Recipe(heads, kind, end_bias=-4.0, likely_end=0.01, streams=OTHER_STREAMS)
    for heads, kind in ((4, "linear"), (8, "mlp"), (4, "transformer"), (1, "linear"))
]


def steps_bound(export: Export) -> int:
    config = export.checkpoint.config
    return FRAMES if config.kind == "mtp" else config.streams.count * FRAMES


def assert_same(export: Export, penalty: float) -> GreedyFrames:
    """Decode one prompt with the graphs and with PyTorch; returns what both agree on."""
    prompt, max_steps = some_prompt(export.checkpoint), steps_bound(export)
    speaker = random_speaker() if export.checkpoint.config.spk_aware else None
    decoder = GreedyDecoder(
        export.checkpoint, export.folder, export.graphs, len(prompt) + max_steps
    )
    decoded = decoder.decode(prompt, speaker, penalty, max_steps)
    expected = generate(export.model, prompt, speaker, penalty, max_steps)
    np.testing.assert_array_equal(decoded.frames, expected.frames)
    assert decoded.steps == expected.steps
    return expected


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("recipe", MODELS, ids=str)
def test_greedy_frames_equal_pytorch(recipe: Recipe, dialect: str) -> None:
    export = tiny_export(recipe, dialect)
    plain, penalized = (assert_same(export, penalty) for penalty in PENALTIES)
    assert len(plain.frames) >= FRAMES // 2, "random heads may stop early, but not at once"
    assert not np.array_equal(plain.frames, penalized.frames), "the penalty must change something"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_checkpoints_are_read_exactly(dtype: str, dialect: str) -> None:
    assert_same(tiny_export(Recipe(heads=6, dtype=dtype), dialect), 1.0)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("head_kind", HEAD_KINDS)
def test_stops_at_eosp(head_kind: str, dialect: str) -> None:
    recipe = Recipe(heads=3, head_kind=head_kind, end_bias=STOPPING[head_kind])
    reference = assert_same(tiny_export(recipe, dialect), 1.0)
    assert 1 < reference.steps < FRAMES


@pytest.mark.parametrize("dialect", DIALECTS)
def test_ntp_stops_and_drops_an_incomplete_frame(dialect: str) -> None:
    reference = assert_same(tiny_export(Recipe(heads=1, likely_end=8.0), dialect), 1.0)
    assert 1 < reference.steps < 3 * FRAMES
    assert (reference.steps - 1) % 3 != 0, "choose a factor that stops inside a frame"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("heads", [6, 12])
def test_padded_frames_are_dropped(heads: int, dialect: str) -> None:
    export = tiny_export(Recipe(heads=heads, pad_bias=3.0), dialect)
    for penalty in PENALTIES:
        reference = assert_same(export, penalty)
        frames_per_step = heads // 3
        assert 0 < len(reference.frames) < frames_per_step * reference.steps
