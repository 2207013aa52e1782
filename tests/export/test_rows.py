"""Rows of one call: each computes what it computes alone, whatever the others do.

Rows begin at different steps, have prompts of different lengths and are sampled differently, so
that in most calls no two of them are at the same position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import pytest

from export.checks.differences import relative_difference
from export.checks.head_calls import codes_of_step
from export.graph.runner import Arrays, GraphRunner
from runtime.bundle.names import (
    BACKBONE,
    CAPACITY,
    CODES,
    HIDDEN,
    INPUTS_EMBEDS,
    KEPT_CODES,
    MTP_HEAD,
    NEXT_EMBEDDING,
    NOISE,
    NTP_HEAD,
    PAST_LENGTH,
    PREFILL,
    REPETITION_PENALTY,
    ROWS,
    SPEAKER,
    SPEAKER_PROJECTION,
    SPEAKER_TOKEN,
    STEP,
    STOP,
    TEMPERATURE,
    TEXT_HEAD,
    TOKEN,
    TOP_K,
    TOP_P,
)
from tests.export.lm_exports import DIALECTS, Export, Recipe, random_speaker, tiny_export
from tests.tiny_codec import OTHER_STREAMS
from tests.tolerances import limit

COUNT, STEPS, ROOM = 5, 14, 64
MODELS = [
    Recipe(heads=6),
    Recipe(heads=6, head_kind="mlp"),
    Recipe(heads=6, head_kind="transformer"),
    Recipe(heads=6, end_bias=2.0, pad_bias=2.0),  # rows keep different parts of a step, or stop
    Recipe(heads=1),
    Recipe(heads=8, streams=OTHER_STREAMS),
    Recipe(heads=1, streams=OTHER_STREAMS),
]


@dataclass(frozen=True)
class Step:
    """What a row computed in one step, without the axis of the rows."""

    hidden: np.ndarray
    drawn: Mapping[str, np.ndarray]


class Loop:
    """Backbone and head, stepping `rows` rows at once."""

    def __init__(self, export: Export, rows: int) -> None:
        graphs = export.graphs
        head = graphs[MTP_HEAD if MTP_HEAD in graphs else NTP_HEAD]
        self.backbone = GraphRunner(export.folder, graphs[BACKBONE], ROOM, rows=rows)
        self.head = GraphRunner(export.folder, head, ROOM, rows=rows)

    def step(self, x: np.ndarray, past: np.ndarray, settings: Arrays) -> list[Step]:
        """x (rows, S, H) after `past` (rows) positions."""
        hidden = self.backbone.run({INPUTS_EMBEDS: x, PAST_LENGTH: past})[HIDDEN]
        wanted = {tensor.name for tensor in self.head.spec.inputs}
        inputs = {HIDDEN: hidden, PAST_LENGTH: past, **settings}
        drawn = self.head.run({name: inputs[name] for name in inputs.keys() & wanted})
        return [
            Step(hidden[row], {name: values[row] for name, values in drawn.items()})
            for row in range(len(x))
        ]


class Row:
    """A prompt and how to sample after it."""

    def __init__(self, export: Export, number: int) -> None:
        random = np.random.default_rng(number)
        head = export.graphs[MTP_HEAD if MTP_HEAD in export.graphs else NTP_HEAD]
        self.positions = 3 + 4 * number
        width = export.checkpoint.config.hidden_size
        self.prompt = random.standard_normal((1, self.positions, width)).astype(np.float32)
        self.noise = random.random((STEPS, 1, codes_of_step(head)), np.float32)
        self.settings = {
            REPETITION_PENALTY: np.array([1.0 + 0.1 * number], np.float32),
            TEMPERATURE: np.array([0.6 + 0.2 * number], np.float32),
            TOP_K: np.array([1 if number == 0 else 20 * number]),
            TOP_P: np.array([1.0 if number == 1 else 0.9], np.float32),
        }

    def inputs(self, step: int) -> Arrays:
        return {NOISE: self.noise[step], **self.settings}

    def past(self, step: int) -> np.ndarray:
        return np.array([0 if step == 0 else self.positions + step - 1])


def run_alone(export: Export, row: Row, steps: int = STEPS) -> tuple[Loop, list[Step]]:
    loop, done = Loop(export, 1), list[Step]()
    x = row.prompt
    for step in range(steps):
        done += loop.step(x, row.past(step), row.inputs(step))
        x = done[-1].drawn[NEXT_EMBEDDING][None]
    return loop, done


def join(arrays: list[Arrays]) -> Arrays:
    return {name: np.concatenate([one[name] for one in arrays]) for name in arrays[0]}


def run_together(export: Export, rows: list[Row], joins: list[int]) -> list[list[Step]]:
    """Row i reads its prompt alone and joins the others when they make their step joins[i]."""
    loop, done = Loop(export, len(rows)), [list[Step]() for _ in rows]
    for turn in range(max(joins) + STEPS - 1):
        for number in (n for n, at in enumerate(joins) if at == turn):
            alone, done[number] = run_alone(export, rows[number], 1)
            loop.backbone.take_row(number, alone.backbone)
            loop.head.take_row(number, alone.head)
        idle = [not one or len(one) == STEPS for one in done]
        at = [1 if rests else len(one) for rests, one in zip(idle, done, strict=True)]
        x = np.stack(
            [
                one[-1].drawn[NEXT_EMBEDDING] if one else row.prompt[0, :1]
                for one, row in zip(done, rows, strict=True)
            ]
        )
        past = np.concatenate([row.past(step) for row, step in zip(rows, at, strict=True)])
        settings = join([row.inputs(step) for row, step in zip(rows, at, strict=True)])
        for rests, one, step in zip(idle, done, loop.step(x, past, settings), strict=True):
            if not rests:
                one.append(step)
    return done


def assert_same(export: Export, together: list[Step], alone: list[Step]) -> None:
    """Codes exactly, and what was made of them; hidden states within the table."""
    assert len(together) == len(alone)
    for one, other in zip(together, alone, strict=True):
        for name in (CODES, KEPT_CODES, STOP):
            np.testing.assert_array_equal(one.drawn[name], other.drawn[name])
        assert one.hidden.shape == other.hidden.shape
        difference = relative_difference(one.hidden, other.hidden)
        assert difference <= limit(BACKBONE, "fp32", export.dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("recipe", MODELS, ids=str)
def test_rows_equal_solo_runs(recipe: Recipe, dialect: str) -> None:
    export = tiny_export(recipe, dialect)
    rows = [Row(export, number) for number in range(COUNT)]
    together = run_together(export, rows, joins=[0, 3, 0, 1, 5])
    solo = [run_alone(export, row)[1] for row in rows]
    for one, other in zip(together, solo, strict=True):
        assert_same(export, one, other)
    drawn = {step.drawn[CODES].tobytes() for steps in solo for step in steps}
    assert len(drawn) > COUNT, "rows must not all say the same"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("recipe", MODELS, ids=str)
def test_rows_begin_together(recipe: Recipe, dialect: str) -> None:
    """Prompts of one length are read in one call."""
    export = tiny_export(recipe, dialect)
    rows = [Row(export, number) for number in range(COUNT)]
    prompts = np.concatenate([row.prompt[:, :3] for row in rows])
    settings = join([row.inputs(0) for row in rows])
    together = Loop(export, COUNT).step(prompts, np.zeros(COUNT, np.int64), settings)
    for row, one in zip(rows, together, strict=True):
        solo = Loop(export, 1).step(row.prompt[:, :3], row.past(0), row.inputs(0))
        assert_same(export, [one], solo)


def test_portable_rows_read_parts_at_different_positions() -> None:
    """The standard operators take several positions after others, each row after its own."""
    export = tiny_export(Recipe(heads=6, head_kind="transformer"), "portable")
    rows = [Row(export, number) for number in (1, 2, 4)]
    loop = Loop(export, len(rows))
    solo = []
    for number, row in enumerate(rows):
        alone = Loop(export, 1)
        alone.step(row.prompt[:, :-4], row.past(0), row.inputs(0))
        loop.backbone.take_row(number, alone.backbone)
        loop.head.take_row(number, alone.head)
        solo.append(alone.step(row.prompt[:, -4:], np.array([row.positions - 4]), row.inputs(1)))
    x = np.concatenate([row.prompt[:, -4:] for row in rows])
    past = np.array([row.positions - 4 for row in rows])
    together = loop.step(x, past, join([row.inputs(1) for row in rows]))
    for one, expected in zip(together, solo, strict=True):
        assert_same(export, [one], expected)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_rows_of_text_equal_solo_runs(dialect: str) -> None:
    export = tiny_export(Recipe(heads=6, speaker_aware=True), dialect)
    head = GraphRunner(export.folder, export.graphs[TEXT_HEAD])
    rows = [Row(export, number) for number in range(COUNT)]
    names = (TEMPERATURE, TOP_K, TOP_P)
    inputs = [
        {HIDDEN: row.prompt[:, :2], NOISE: row.noise[0, :, :1]}
        | {name: row.settings[name] for name in names}
        for row in rows
    ]
    together = head.run(join(inputs))[TOKEN]
    alone = [head.run(one)[TOKEN][0] for one in inputs]
    np.testing.assert_array_equal(together, alone)
    assert len(set(alone)) > 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_speakers_are_projected_row_by_row(dialect: str) -> None:
    export = tiny_export(Recipe(heads=6, speaker_aware=True), dialect)
    projection = GraphRunner(export.folder, export.graphs[SPEAKER_PROJECTION])
    speakers = np.stack([random_speaker(seed) for seed in range(COUNT)])
    together = projection.run({SPEAKER: speakers})[SPEAKER_TOKEN]
    alone = [projection.run({SPEAKER: speaker[None]})[SPEAKER_TOKEN] for speaker in speakers]
    difference = relative_difference(together, np.concatenate(alone))
    assert difference <= limit(SPEAKER_PROJECTION, "fp32", dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("recipe", MODELS, ids=str)
def test_every_tensor_begins_with_the_rows(recipe: Recipe, dialect: str) -> None:
    for spec in tiny_export(recipe, dialect).graphs.values():
        for tensor in (*spec.inputs, *spec.outputs):
            assert tensor.shape[0] == ROWS, tensor
            assert set(tensor.shape[1:]) - {CAPACITY, "positions"} <= set(range(10_000))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_stands_between_a_cache_and_its_operator(dialect: str) -> None:
    """So that engines write the positions of a call into the memory of the cache."""
    export = tiny_export(Recipe(heads=6, head_kind="transformer"), dialect)
    for name in (BACKBONE, MTP_HEAD):
        spec = export.graphs[name]
        nodes = onnx.load(export.folder / spec.file, load_external_data=False).graph.node
        for state in (state for state in spec.states if state.in_place):
            (reader,) = (node for node in nodes if state.input in node.input)
            (writer,) = (node for node in nodes if state.output in node.output)
            assert reader is writer
            assert reader.op_type in ("GroupQueryAttention", "TensorScatter")


def test_profiles_say_how_many_rows_there_can_be() -> None:
    export = tiny_export(Recipe(heads=6, head_kind="transformer"), "portable")
    for name in (BACKBONE, MTP_HEAD, TEXT_HEAD):
        profiles = export.graphs[name].profiles
        assert [*profiles] == [PREFILL, STEP]
        assert {(r[ROWS].min, r[ROWS].opt, r[ROWS].max) for r in profiles.values()} == {(1, 1, 8)}
