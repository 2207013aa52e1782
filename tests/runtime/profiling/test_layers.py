"""What each layer costs: every layer and part is there once, and the parts are the whole call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from commands.errors import UserError
from export.options import ExportOptions, Numbers, Source
from export.pipeline import build_bundle
from runtime import TTS, Sampling
from runtime.bundle import names
from runtime.bundle.loading import load_bundle
from runtime.engines.graph import Graph
from runtime.engines.native.graphs import open_native_graph
from runtime.engines.native.model import NativeModel
from runtime.engines.native.recorder import NativeRecorder
from runtime.engines.onnxruntime import recorder
from runtime.engines.onnxruntime.operators import Operator, find_places, number_of
from runtime.engines.parts import Cost, Place
from runtime.profiling import layers
from runtime.profiling.layers import layer_times
from runtime.profiling.report import Layer
from tests.tiny_codec import TINY_STREAMS
from tests.tiny_models import make_lm_checkpoint

LAYERS = ("0", "1", "2")  # of the tiny models
PARTS = {"norm", "qkv", "attention", "output", "gate_up", "activation", "down"}
UNITS = {"convolution", "unit 0", "unit 1", "unit 2"}
OPERATORS = "other", "beside operators"


def parts_of(found: Iterable[Layer], stage: str) -> dict[str, list[str]]:
    """The parts of each layer."""
    parts: dict[str, list[str]] = {}
    for layer in found:
        if layer.stage == stage:
            parts.setdefault(layer.layer, []).append(layer.part)
    return parts


def check(found: tuple[Layer, ...], stages: set[str], step: str) -> None:
    places = Counter((layer.stage, layer.layer, layer.part) for layer in found)
    assert set(places.values()) == {1}, "every part once"
    assert all(layer.seconds >= 0 and layer.calls >= 0 for layer in found)
    assert {layer.stage for layer in found} == stages
    for stage in ("prefill", step):
        parts = parts_of(found, stage)
        for name in LAYERS:
            assert set(parts[name]) == PARTS, (stage, name)
        assert "norm" in parts["final"]
    codec = parts_of(found, "codec_chunk")
    upsampling = [name for name in codec if name.startswith("stage")]
    assert upsampling == ["stage 1", "stage 2"]
    assert all(set(codec[name]) == UNITS for name in upsampling)
    assert "convolution" in codec["first"]
    assert "convolution" in codec["last"]


def test_native(tiny_native_engine: Path) -> None:
    found = layer_times(load_bundle(tiny_native_engine), threads=1)
    check(found, {"prefill", "whole_step", "codec_chunk"}, "whole_step")
    step = parts_of(found, "whole_step")
    assert step["drawing"] == ["codes"]
    assert [name for name in step if name.startswith("head")] == ["head 0", "head 1", "head 2"]
    calls = {(layer.layer, layer.part): layer.calls for layer in found if "step" in layer.stage}
    assert calls["0", "norm"] == 2
    assert calls["0", "attention"] == 1


def test_parts_lie_within_their_calls(tiny_native_engine: Path) -> None:
    """What an observer hears of a call is more than the sum of its parts."""
    heard: list[tuple[str, float]] = []

    class Watch:
        def note(self, stage: str, seconds: float) -> None:
            heard.append((stage, seconds))

    class Watched(NativeRecorder):
        def open_graph(self, name: str) -> Graph:
            return open_native_graph(self._model, name, Watch())

        def begin(self, phase: str | None) -> None:
            if phase is not None:
                heard.clear()
            elif self._phase is not None:
                wholes.append((self._phase, dict(heard)))
            super().begin(phase)

    wholes: list[tuple[str, dict[str, float]]] = []
    bundle = load_bundle(tiny_native_engine)
    recorder = Watched(bundle, 1)
    layers._make_calls(bundle, recorder)
    found = recorder.finish()
    assert found
    for (phase, stage), calls in found.items():
        observed = [times[stage] for name, times in wholes if name == phase]
        assert len(calls) == len(observed)
        for costs, whole in zip(calls, observed, strict=True):
            assert 0 < sum(cost.seconds for cost in costs.values()) < whole


def test_times_change_no_codes(tiny_native_engine: Path) -> None:
    plain = TTS.load(tiny_native_engine, threads=1)
    model = NativeModel(load_bundle(tiny_native_engine), 1, time_parts=True)
    timed = TTS(model.bundle, lambda name: open_native_graph(model, name, None), "timed")
    audio = [
        tts.synthesize("They know it.", voice="anna", sampling=Sampling(seed=3)).audio
        for tts in (plain, timed)
    ]
    assert audio[0].tobytes() == audio[1].tobytes()


@pytest.mark.parametrize("dialect", [names.ORT, names.PORTABLE])
@pytest.mark.parametrize("head_kind", ["linear", "mlp", "transformer"])
def test_onnxruntime(head_kind: str, dialect: str, tiny_source: Source, tmp_path: Path) -> None:
    model = make_lm_checkpoint(
        tmp_path / "model", heads=3, head_kind=head_kind, streams=TINY_STREAMS
    )
    source = replace(tiny_source, model=model)
    folder = tmp_path / "engine"
    build_bundle(ExportOptions(source, Numbers(dialect=dialect), output=folder, compare=False))
    found = layer_times(load_bundle(folder), threads=1)
    check(found, {"prefill", "step", "head", "codec_chunk"}, "step")
    head = parts_of(found, "head")
    assert "output" in head["heads"]
    assert ("inner" in head["heads"]) == (head_kind == "mlp")
    assert head["drawing"] == ["codes"]
    transformers = [name for name in head if name.startswith("heads layer")]
    assert len(transformers) == (2 if head_kind == "transformer" else 0)
    assert all(set(head[name]) == PARTS for name in transformers)


def test_operators_add_up_to_the_calls(tiny_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ONNX Runtime says a call took is the sum of its parts."""
    wholes: list[tuple[float, float]] = []
    fold = recorder._costs_of

    def watch(run: recorder._Run, graph: str) -> dict[Place, Cost]:
        costs = fold(run, graph)
        inside = sum(event.dur for event in run.operators)
        assert inside <= run.whole.dur + len(run.operators), "a microsecond of rounding each"
        wholes.append((1e-6 * run.whole.dur, sum(cost.seconds for cost in costs.values())))
        return costs

    monkeypatch.setattr(recorder, "_costs_of", watch)
    found = layer_times(load_bundle(tiny_engine), threads=1)
    assert {(layer.layer, layer.part) for layer in found}.issuperset({OPERATORS})
    assert len(wholes) > layers.STEPS
    for whole, parts in wholes:
        assert parts == pytest.approx(whole, rel=0.1)


def test_fewer_bits_and_fused_operators_are_folded() -> None:
    """As the int8 backbone of the demo voice runs."""
    ran = [
        ("layer_0/SimplifiedLayerNormalization_node_5", "SimplifiedLayerNormalization", "norm"),
        ("layer_0/Mul_node_6", "Mul", "norm"),
        ("layer_0/MatMulNBits_node_7", "MatMulNBits", "qkv"),
        ("layer_0/GroupQueryAttention_node_9", "GroupQueryAttention", "attention"),
        ("layer_0/Mul_node_10", "Mul", "attention"),
        ("layer_0/MatMulNBits_node_11", "MatMulNBits", "output"),
        ("layer_0/SkipSimplifiedLayerNormalization_node_12", "SkipLayerNormalization", "norm"),
        ("layer_0/Mul_node_13", "Mul", "norm"),
        ("layer_0/MatMulNBits_node_14", "MatMulNBits", "gate_up"),
        ("layer_0/Mul_node_17/QuickGeluFusion/", "QuickGelu", "activation"),
        ("layer_0/Mul_node_18", "Mul", "activation"),
        ("layer_0/MatMulNBits_node_20", "MatMulNBits", "down"),
        ("layer_0/Mul_node_21", "Mul", "down"),
    ]
    places = find_places(names.BACKBONE, [Operator(name, kind) for name, kind, _ in ran])
    assert places == [Place("0", part) for _, _, part in ran]
    assert number_of("v_decoder.model.3.block.2.Conv_289_nchwc") == 289
    assert number_of("ReorderInput_token_77") is None


def test_what_is_unknown_keeps_its_name() -> None:
    strange = [Operator("Wonder", "Wonder"), Operator("layer_0/Add_node_3", "Add")]
    assert find_places(names.BACKBONE, strange) == [Place("other", "Wonder"), Place("0", "Add")]


def test_layouts_belong_to_their_convolution() -> None:
    ran = [
        Operator("decoder.model.1.block.0/Mul_node_4", "Mul"),
        Operator("decoder.model.1.block.2/Concat_node_9", "Concat"),
        Operator("ReorderInput_token_2", "ReorderInput"),
        Operator("v_decoder.model.1.block.3.Conv_12_nchwc", "Conv"),
        Operator("ReorderOutput_token_5", "ReorderOutput"),
    ]
    unit = Place("stage 1", "unit 1")
    expected = [Place("stage 1", "convolution"), Place("stage 1", "unit 0"), unit, unit, unit]
    assert find_places(names.CODEC_DECODER, ran) == expected


def test_engines_that_do_not_tell(tiny_engine: Path) -> None:
    assert layer_times(load_bundle(tiny_engine), "onnxruntime-cuda") == ()


def test_a_strange_profile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text('[{"cat": "Node"}]')
    with pytest.raises(UserError, match="backbone: the profile of this ONNX Runtime cannot be rea"):
        recorder._read_runs(path, names.BACKBONE)
