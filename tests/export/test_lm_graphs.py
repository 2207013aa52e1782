"""Numbers, shapes and operators of the language model's graphs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from export.checks.differences import relative_difference
from export.graph.runner import GraphRunner
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
    PAST_LENGTH,
    REPETITION_PENALTY,
    ROWS,
    SPEAKER,
    SPEAKER_PROJECTION,
    SPEAKER_TOKEN,
    STOP,
    TEMPERATURE,
    TEXT_HEAD,
    TOKEN,
    TOP_K,
    TOP_P,
)
from tests.export.lm_exports import DIALECTS, POSITIONS, Export, Recipe, random_speaker, tiny_export
from tests.tolerances import limit
from train.language_model.mtp import MtpModel

SPEAKER_AWARE = Recipe(heads=6, speaker_aware=True)
CONTRACT_STATES = {"linear": {"past_seen"}, "transformer": {"past_seen", "past_head_key_0"}}


def random_embeddings(export: Export, positions: int) -> np.ndarray:
    shape = (1, positions, export.checkpoint.config.hidden_size)
    return np.random.default_rng(positions).standard_normal(shape).astype(np.float32)


def torch_hidden(export: Export, embeddings: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return export.model.hidden_states(torch.from_numpy(embeddings)).numpy()


def greedy(hidden: np.ndarray, codes: int) -> dict[str, np.ndarray]:
    return {
        HIDDEN: hidden,
        REPETITION_PENALTY: np.ones(1, np.float32),
        TEMPERATURE: np.ones(1, np.float32),
        TOP_K: np.ones(1, np.int64),
        TOP_P: np.ones(1, np.float32),
        NOISE: np.zeros((1, codes), np.float32),
    }


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("chunks", [(1,), (19,), (64,), (7, 5), (5, 1, 1, 9, 1)], ids=str)
def test_backbone_equals_pytorch(chunks: tuple[int, ...], dialect: str) -> None:
    """Whole prompts, prompts in chunks and single steps, with capacity to spare."""
    export = tiny_export(SPEAKER_AWARE, dialect)
    embeddings = random_embeddings(export, sum(chunks))
    runner = GraphRunner(export.folder, export.graphs[BACKBONE], capacity=sum(chunks) + 3)
    outputs, start = [], 0
    for size in chunks:
        part = embeddings[:, start : start + size]
        outputs.append(runner.run({INPUTS_EMBEDS: part, PAST_LENGTH: np.array([start])})[HIDDEN])
        start += size
    difference = relative_difference(
        np.concatenate(outputs, axis=1), torch_hidden(export, embeddings)
    )
    assert difference <= limit(BACKBONE, "fp32", dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_lies_behind_the_past_length_does_not_matter(dialect: str) -> None:
    """A second utterance in a used cache equals one in a fresh cache."""
    export = tiny_export(SPEAKER_AWARE, dialect)
    runner = GraphRunner(export.folder, export.graphs[BACKBONE], capacity=40)
    start = {PAST_LENGTH: np.zeros(1, np.int64)}
    first, second = random_embeddings(export, 31), random_embeddings(export, 6)
    fresh = runner.run({INPUTS_EMBEDS: second} | start)[HIDDEN]
    runner.run({INPUTS_EMBEDS: first} | start)
    used = runner.run({INPUTS_EMBEDS: second} | start)[HIDDEN]
    np.testing.assert_array_equal(used, fresh)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_speaker_projection_equals_pytorch(dialect: str) -> None:
    export = tiny_export(SPEAKER_AWARE, dialect)
    runner = GraphRunner(export.folder, export.graphs[SPEAKER_PROJECTION])
    speaker = random_speaker()[None]
    assert export.model.spk_emb_proj is not None
    with torch.inference_mode():
        expected = export.model.spk_emb_proj(torch.from_numpy(speaker))[:, None].numpy()
    difference = relative_difference(runner.run({SPEAKER: speaker})[SPEAKER_TOKEN], expected)
    assert difference <= limit(SPEAKER_PROJECTION, "fp32", dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_next_embedding_is_the_mean_of_the_drawn_tokens(dialect: str) -> None:
    export = tiny_export(SPEAKER_AWARE, dialect)
    assert isinstance(export.model, MtpModel)
    runner = GraphRunner(export.folder, export.graphs[MTP_HEAD])
    drawn = runner.run(greedy(random_embeddings(export, 4), codes=6))
    assert drawn[KEPT_CODES] == 6
    assert not drawn[STOP][0]
    heads = zip(export.model.heads, drawn[CODES][0], strict=True)
    ids = torch.stack([head.small_to_orig[code] for head, code in heads])
    with torch.inference_mode():
        expected = export.model.embed_step(ids[None]).numpy()
    difference = relative_difference(drawn[NEXT_EMBEDDING][0], expected)
    assert difference <= limit(MTP_HEAD, "fp32", dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_eosp_feeds_its_own_embedding_back(dialect: str) -> None:
    export = tiny_export(Recipe(heads=3, end_bias=1e4), dialect)
    runner = GraphRunner(export.folder, export.graphs[MTP_HEAD])
    drawn = runner.run(greedy(random_embeddings(export, 1), codes=3))
    assert drawn[STOP][0]
    assert drawn[KEPT_CODES] == 0
    expected = export.model.embedding.weight[export.checkpoint.tokens.end].detach().numpy()
    difference = relative_difference(drawn[NEXT_EMBEDDING][0, 0], expected)
    assert difference <= limit(MTP_HEAD, "fp32", dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("recipe", [SPEAKER_AWARE, Recipe(plain=True)], ids=str)
def test_text_head_chooses_the_token_pytorch_chooses(recipe: Recipe, dialect: str) -> None:
    export = tiny_export(recipe, dialect)
    runner = GraphRunner(export.folder, export.graphs[TEXT_HEAD])
    hidden = random_embeddings(export, 3)
    inputs = greedy(hidden, codes=1)
    del inputs[REPETITION_PENALTY]
    with torch.inference_mode():
        scores = export.model.lm_model.lm_head(torch.from_numpy(hidden[:, -1]))
        scores[:, list(export.checkpoint.tokens.never_written)] = -torch.inf
    assert runner.run(inputs)[TOKEN] == scores.argmax().numpy()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("head_kind", CONTRACT_STATES)
def test_specification_is_the_saved_model(head_kind: str, dialect: str) -> None:
    """Names, types and shapes in the manifest are those of the file."""
    export = tiny_export(Recipe(heads=3, head_kind=head_kind), dialect)
    for spec in export.graphs.values():
        graph = onnx.load(export.folder / spec.file, load_external_data=False).graph
        for declared, saved in ((spec.inputs, graph.input), (spec.outputs, graph.output)):
            assert [(tensor.name, list(tensor.shape)) for tensor in declared] == [
                (value.name, [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim])
                for value in saved
            ]
    states = {state.input for state in export.graphs[MTP_HEAD].states}
    assert CONTRACT_STATES[head_kind] <= states
    capacity = CAPACITY if dialect == "ort" else POSITIONS
    cache = next(tensor for tensor in export.graphs[BACKBONE].inputs if "past_key" in tensor.name)
    assert cache.shape == (ROWS, 2, capacity, 16)


@pytest.mark.parametrize(
    "recipe",
    [Recipe(heads=6, head_kind=kind) for kind in ("linear", "mlp", "transformer")],
    ids=str,
)
def test_portable_graphs_are_standard_and_deterministic(recipe: Recipe) -> None:
    export = tiny_export(recipe, "portable")
    for spec in export.graphs.values():
        model = onnx.load(export.folder / spec.file)
        onnx.checker.check_model(model, full_check=True)
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 24)]
        operators = {node.op_type for node in model.graph.node}
        assert not operators & {"Multinomial", "RandomUniform", "RandomUniformLike"}
