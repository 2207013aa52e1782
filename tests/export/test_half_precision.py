"""Language-model graphs in float16 and bfloat16: close to PyTorch, and finite whatever comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from commands.errors import UserError
from export.checks.differences import relative_difference
from export.checks.head_calls import greedy_inputs
from export.checks.lm_agreement import draw_along, speak
from export.checks.lm_parity import some_prompt
from export.graph.precisions import GraphNumbers, Precision
from export.graph.runner import GraphRunner
from export.language_model import decoder_layers
from export.language_model.backbone import build_backbone
from export.language_model.half_range import NO_GAINS
from runtime.bundle.names import (
    BACKBONE,
    CODES,
    HIDDEN,
    INPUTS_EMBEDS,
    MTP_HEAD,
    NTP_HEAD,
    PAST_LENGTH,
    SPEAKER,
    SPEAKER_PROJECTION,
    SPEAKER_TOKEN,
    STANDARD,
)
from tests.export.lm_exports import Export, Recipe, random_speaker, tiny_export
from tests.tolerances import limit
from train.language_model.mtp import MtpModel

HALVES: tuple[Precision, ...] = ("fp16", "bf16")
ELEMENTS = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}
MASSIVE = Recipe(heads=6, head_kind="transformer", mlp_factor=150.0)
FLOAT16_MAX = 65504.0
START = {PAST_LENGTH: np.zeros(1, np.int64)}


def embeddings(export: Export, positions: int = 64) -> np.ndarray:
    shape = (1, positions, export.checkpoint.config.hidden_size)
    return np.random.default_rng(positions).standard_normal(shape).astype(np.float32)


def run_backbone(export: Export, x: np.ndarray) -> np.ndarray:
    return GraphRunner(export.folder, export.graphs[BACKBONE]).run({INPUTS_EMBEDS: x} | START)[
        HIDDEN
    ]


def torch_hidden(export: Export, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return export.model.hidden_states(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("dialect", STANDARD)
@pytest.mark.parametrize("precision", HALVES)
def test_backbone_is_close_to_pytorch(precision: Precision, dialect: str) -> None:
    export = tiny_export(Recipe(heads=6), dialect, precision)
    x = embeddings(export)
    difference = relative_difference(run_backbone(export, x), torch_hidden(export, x))
    assert difference <= limit(BACKBONE, precision, dialect)


@pytest.mark.parametrize("dialect", STANDARD)
@pytest.mark.parametrize("precision", HALVES)
def test_speaker_projection_stays_exact(precision: Precision, dialect: str) -> None:
    export = tiny_export(Recipe(heads=6, speaker_aware=True), dialect, precision)
    speaker = random_speaker()[None]
    runner = GraphRunner(export.folder, export.graphs[SPEAKER_PROJECTION])
    assert export.model.spk_emb_proj is not None
    with torch.inference_mode():
        expected = export.model.spk_emb_proj(torch.from_numpy(speaker))[:, None].numpy()
    difference = relative_difference(runner.run({SPEAKER: speaker})[SPEAKER_TOKEN], expected)
    assert difference <= limit(SPEAKER_PROJECTION, precision, dialect)


@pytest.mark.parametrize("dialect", STANDARD)
@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize(
    "recipe", [Recipe(heads=6), Recipe(heads=12, head_kind="mlp"), Recipe(heads=1)], ids=str
)
def test_heads_draw_the_codes_of_float32(
    recipe: Recipe, precision: Precision, dialect: str
) -> None:
    """From the same hidden states: scores are not rounded."""
    exact, half = (tiny_export(recipe, dialect, each) for each in ("fp32", precision))
    name = MTP_HEAD if MTP_HEAD in exact.graphs else NTP_HEAD
    runners = [GraphRunner(export.folder, export.graphs[name]) for export in (exact, half)]
    for hidden in np.split(embeddings(exact), 64, axis=1):
        for runner in runners:
            runner.reset()
        drawn = [runner.run(greedy_inputs(runner.spec, hidden, 0))[CODES] for runner in runners]
        np.testing.assert_array_equal(drawn[0], drawn[1])


@pytest.mark.parametrize("dialect", STANDARD)
@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize(
    "recipe",
    [Recipe(heads=6, head_kind=kind) for kind in ("linear", "transformer")] + [Recipe(heads=1)],
    ids=str,
)
def test_most_codes_along_pytorchs_speech_agree(
    recipe: Recipe, precision: Precision, dialect: str
) -> None:
    export = tiny_export(recipe, dialect, precision)
    with torch.inference_mode():
        speech = speak(export.model, some_prompt(export.checkpoint), None, 48)
    differing = np.mean(draw_along(speech, export.folder, export.graphs) != speech.codes)
    assert differing <= limit("codes", precision, dialect)


@pytest.mark.parametrize("dialect", STANDARD)
def test_float32_agrees_along_pytorchs_speech(dialect: str) -> None:
    for recipe in (Recipe(heads=6, head_kind="transformer"), Recipe(heads=1)):
        export = tiny_export(recipe, dialect)
        with torch.inference_mode():
            speech = speak(export.model, some_prompt(export.checkpoint), None, 24)
        drawn = draw_along(speech, export.folder, export.graphs)
        np.testing.assert_array_equal(drawn, speech.codes)


# Massive activations.


def largest_values(export: Export, x: np.ndarray) -> tuple[float, float]:
    """Of the MLP's products and of the residual stream, in PyTorch."""
    largest = [0.0, 0.0]
    layer = export.model.lm_model.model.layers[1]

    def product(_module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        largest[0] = float(inputs[0].abs().max())

    def residual(_module: object, _inputs: object, output: torch.Tensor) -> None:
        largest[1] = float(output.abs().max())

    hooks = [
        layer.mlp.down_proj.register_forward_pre_hook(product),
        layer.register_forward_hook(residual),
    ]
    torch_hidden(export, x)
    for hook in hooks:
        hook.remove()
    return largest[0], largest[1]


@pytest.mark.parametrize("dialect", STANDARD)
@pytest.mark.parametrize("precision", HALVES)
def test_massive_activations_stay_finite_and_close(precision: Precision, dialect: str) -> None:
    export = tiny_export(MASSIVE, dialect, precision)
    x = embeddings(export)
    product, residual = largest_values(export, x)
    assert product > FLOAT16_MAX
    assert residual > FLOAT16_MAX
    difference = relative_difference(run_backbone(export, x), torch_hidden(export, x))
    assert difference <= limit("backbone, massive", precision, dialect)


@pytest.mark.parametrize("dialect", STANDARD)
@pytest.mark.parametrize("precision", HALVES)
def test_massive_activations_in_transformer_heads(precision: Precision, dialect: str) -> None:
    """Codes after each of 64 positions of the heads, which have such layers of their own."""
    export = tiny_export(MASSIVE, dialect, precision)
    hidden = embeddings(export)
    assert isinstance(export.model, MtpModel)
    with torch.inference_mode():
        scores = export.model.head_scores(torch.from_numpy(hidden))
    expected = np.stack([of_head[0].argmax(-1).numpy() for of_head in scores], axis=1)
    head = GraphRunner(export.folder, export.graphs[MTP_HEAD])
    drawn = [
        head.run(greedy_inputs(head.spec, hidden[:, [position]], position))[CODES][0]
        for position in range(64)
    ]
    assert np.mean(np.array(drawn) != expected) <= limit("codes", precision, dialect)


@pytest.mark.parametrize("dialect", STANDARD)
def test_massive_activations_need_their_factors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    """Without them float16 does overflow: the tests above test something."""
    monkeypatch.setattr(decoder_layers, "fit_layer", lambda weights, _: (weights, NO_GAINS))
    export = tiny_export(MASSIVE, dialect, "fp16")
    spec = build_backbone(export.checkpoint, GraphNumbers(dialect, "fp16")).save(tmp_path)
    inputs = {INPUTS_EMBEDS: embeddings(export)} | START
    assert not np.isfinite(GraphRunner(tmp_path, spec).run(inputs)[HIDDEN]).all()


@pytest.mark.parametrize("dialect", STANDARD)
def test_what_no_factor_can_help_is_refused(dialect: str) -> None:
    with pytest.raises(UserError, match=r"gate_up.weight: its outputs can reach .* bf16"):
        tiny_export(Recipe(heads=6, mlp_factor=1e4), dialect, "fp16")


@pytest.mark.parametrize("dialect", STANDARD)
def test_bfloat16_holds_what_float16_cannot(dialect: str) -> None:
    export = tiny_export(Recipe(heads=6, mlp_factor=1e4), dialect, "bf16")
    x = embeddings(export)
    difference = relative_difference(run_backbone(export, x), torch_hidden(export, x))
    assert difference <= limit("backbone, massive", "bf16", dialect)


# What is stored and computed in which type.


@pytest.mark.parametrize("dialect", STANDARD)
@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("head_kind", ["linear", "transformer"])
def test_types(head_kind: str, precision: Precision, dialect: str) -> None:
    """Products, attention and caches in half precision; norms, sums and interfaces in float32."""
    export = tiny_export(Recipe(heads=6, head_kind=head_kind), dialect, precision)
    half = ELEMENTS[precision]
    for name, spec in export.graphs.items():
        model = onnx.shape_inference.infer_shapes(
            onnx.load(export.folder / spec.file), check_type=True, strict_mode=True
        )
        types = element_types(model)
        for node in model.graph.node:
            found = {types[value] for value in (*node.input, *node.output) if value in types}
            if node.op_type != "Cast" and "/scores/" in node.name:
                assert half not in found, f"{name}: {node.op_type} {node.name}"
            elif node.op_type in ("MatMul", "Attention", "RotaryEmbedding"):
                assert half in found, f"{name}: {node.op_type} {node.name}"
                assert onnx.TensorProto.FLOAT not in found, f"{name}: {node.op_type} {node.name}"
            if node.op_type in ("RMSNormalization", "Softmax", "TopK", "ReduceSum", "ReduceMean"):
                assert half not in found, f"{name}: {node.op_type} {node.name}"
        for tensor in (*spec.inputs, *spec.outputs):
            is_cache = "key" in tensor.name or "value" in tensor.name
            floats = {"fp16": "float16", "bf16": "bfloat16"}[precision] if is_cache else "float32"
            assert tensor.dtype in (floats, "int64", "bool")


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp8"])
def test_the_ort_dialect_has_no_half_precision(precision: Precision) -> None:
    export = tiny_export(Recipe(heads=6), "ort")
    with pytest.raises(UserError, match=f"the ort dialect has no {precision}, only fp32"):
        build_backbone(export.checkpoint, GraphNumbers("ort", precision))
