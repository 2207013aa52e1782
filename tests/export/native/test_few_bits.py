"""A language model in few bits in a file of packed weights: the codes of the ONNX graphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration.measurement.reference import write_observed
from calibration.methods.weight_scales import weight_scales
from commands.errors import UserError
from export.graph.precisions import GraphNumbers
from export.graph.writer import GraphWriter, Value
from export.language_model.graphs import language_model_graphs
from export.native.weights import Formats
from export.quantization import products
from export.quantization.products import FewBits, part_name, quantized_formats
from export.readers.checkpoint import Checkpoint
from export.readers.codec_checkpoint import CodecCheckpoint, open_codec
from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.reader import Calibration
from formats.calibration.record import CalibrationRecord, MethodRecord
from formats.number_formats import FORMATS, FormatName
from formats.weights import Array, Weight, as_weight
from tests.export.lm_exports import Recipe
from tests.export.native.packed import layer_values, opened, pack
from tests.tiny_codec import OTHER_STREAMS, make_codec_checkpoint

HIDDEN = 64


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> CodecCheckpoint:
    return open_codec(make_codec_checkpoint(tmp_path_factory.mktemp("codec")))


def calibrated(
    checkpoint: Checkpoint, name: FormatName, folder: Path, *, leave: tuple[str, ...] = ()
) -> Calibration:
    """Scales for every product but `leave`; also codes in four bits, smoothing in eight."""
    form, weights = FORMATS[name], dict[str, QuantizedWeight]()
    for weight in known_products(checkpoint, folder):
        rows = weight.read()
        if weight.name in leave or (name == "int4" and rows.shape[1] % 32):
            continue
        block = 32 if name == "int4" else rows.shape[1]
        if name == "int4":
            scales = weight_scales(rows, block, form, "max")
            random = np.random.default_rng(len(weights))
            codes = random.integers(-8, 8, rows.shape).astype(np.float32)
            weights[weight.name] = QuantizedWeight(form, block, scales, codes=codes)
        else:
            smoothing = np.linspace(0.5, 2.0, rows.shape[1], dtype=np.float32)
            scales = weight_scales(rows * smoothing, block, form, "max")
            weights[weight.name] = QuantizedWeight(form, block, scales, smoothing)
    method = MethodRecord("test", "max", None, 0, 0)
    record = CalibrationRecord(1, name, "", "", method, {}, {})
    return Calibration(Path("scales"), record, weights)


def known_products(checkpoint: Checkpoint, folder: Path) -> Iterator[Weight]:
    """The weights of all products of the graphs, as calibrations know them."""
    log, _ = write_observed(checkpoint, folder)
    for weight in log.weights():
        if len(weight.shape) == 2:
            yield weight
        else:
            stacked = weight.read()
            for index, rows in enumerate(stacked):
                yield as_weight(part_name(weight.name, index), rows)


def graph_codes(
    checkpoint: Checkpoint, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Array]:
    """The codes that the ONNX graphs get, by name."""
    found: dict[str, Array] = {}

    class Noted(FewBits):
        def product(self, graph: GraphWriter, x: Value, weight: Weight) -> Value:
            found[weight.name] = self.quantized.encode(weight.read())
            return super().product(graph, x, weight)

    monkeypatch.setattr(products, "FewBits", Noted)
    formats = quantized_formats(calibration.weights, "ort")
    numbers = GraphNumbers("ort", calibration.record.precision, formats)
    for _ in language_model_graphs(checkpoint, numbers):
        pass
    return found


@pytest.mark.parametrize("name", ["int8", "int4"])
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(3, mlp_factor=300.0),
        Recipe(8, "mlp", streams=OTHER_STREAMS),
        Recipe(4, "transformer", streams=OTHER_STREAMS),
        Recipe(1, streams=OTHER_STREAMS),
    ],
    ids=str,
)
def test_codes_are_those_of_the_graphs(
    recipe: Recipe,
    name: FormatName,
    codec: CodecCheckpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkpoint = opened(recipe)
    calibration = calibrated(checkpoint, name, tmp_path)
    packed = pack(tmp_path, checkpoint, codec, Formats(name, calibration))
    codes = graph_codes(checkpoint, calibration, monkeypatch)
    assert {*codes} == {*calibration.weights}
    compared = 0
    for known, expected in codes.items():
        for own, rows in own_matrices(known, checkpoint):
            quantized, layout = calibration.weights[known], packed.layout(own)
            assert layout.format == name
            outputs = layout.outputs
            picked = expected[rows][:outputs]
            np.testing.assert_array_equal(packed.rows(own), picked)
            np.testing.assert_array_equal(packed.scales(own), quantized.scales[rows][:outputs])
            assert layout.block == (32 if name == "int4" else 128)
            if quantized.smoothing is not None:
                smoothing = packed.floats(f"{own}.smoothing")
                assert len(smoothing) == layout.inputs
                inverse = np.asarray(1.0 / quantized.smoothing)
                np.testing.assert_array_equal(smoothing[: len(inverse)], inverse)
                assert not smoothing[len(inverse) :].any()
            compared += 1
    few = [n for n, entry in packed.facts["matrices"].items() if entry["format"] == name]
    assert compared == len(few)


def own_matrices(known: str, checkpoint: Checkpoint) -> list[tuple[str, slice]]:
    """The matrices that hold rows of the product that calibrations call `known`."""
    config = checkpoint.config
    largest, everything = max(config.streams.sizes), slice(None)
    parts = known.removesuffix(".weight").split(".")
    short = {"self_attn.qkv": "qkv", "self_attn.o_proj": "attention_output"}
    short |= {"mlp.gate_up": "gate_up", "mlp.down_proj": "down"}
    if parts[0] == "model":
        return [(f"layer.{parts[2]}.{short['.'.join(parts[3:])]}", everything)]
    if known == "speech_output":
        step = largest + 1
        return [
            (f"head.{n}.output", slice(n * step, (n + 1) * step))
            for n in range(config.streams.count)
        ]
    stem, _, rest = known.partition("[")
    if rest:
        head, stem = int(rest.rstrip("]")), stem.removeprefix("speech_heads.")
        if stem.startswith("head_layers."):
            _, layer, part = stem.split(".")
            return [(f"head.{head}.layer.{layer}.{part}", everything)]
        return [(f"head.{head}.output", everything)]
    name, step = {
        "speech_heads.head.weight": ("output", largest + 2),
        "speech_heads.head.0.weight": ("inner", 2 * HIDDEN),
    }[known]
    return [(f"head.{n}.{name}", slice(n * step, (n + 1) * step)) for n in range(config.heads)]


def test_gains_of_a_layer_with_massive_activations(codec: CodecCheckpoint, tmp_path: Path) -> None:
    """Gains and factors together change nothing but the range."""
    checkpoint = opened(Recipe(3, mlp_factor=300.0))
    packed = pack(
        tmp_path, checkpoint, codec, Formats("int8", calibrated(checkpoint, "int8", tmp_path))
    )
    gain = packed.facts["matrices"]["layer.1.down"]["gain"]
    assert gain == 2 ** np.log2(gain) > 1
    assert "gain" not in packed.facts["matrices"]["layer.1.qkv"]
    wanted = layer_values(checkpoint, "model.layers.1")

    def made(name: str) -> Array:
        smoothing = packed.floats(f"layer.1.{name}.smoothing")
        rows = packed.rows(f"layer.1.{name}") * packed.scales(f"layer.1.{name}")
        return rows * smoothing[: rows.shape[1]]

    up, down = made("gate_up")[112:], gain * made("down")
    factors = np.abs(wanted["gate_up"][112:]).max(axis=1) / np.abs(up).max(axis=1)
    np.testing.assert_allclose(factors, 2 ** np.round(np.log2(factors)), rtol=0.02)
    assert factors.max() > 1.5
    expected = wanted["down"]
    error = down / 2 ** np.round(np.log2(factors)) - expected
    assert np.abs(error).max() < 0.02 * np.abs(expected).max()


def test_weights_that_a_calibration_leaves_are_floats(
    codec: CodecCheckpoint, tmp_path: Path
) -> None:
    checkpoint = opened(Recipe(3))
    left = "model.layers.1.mlp.down_proj.weight"
    calibration = calibrated(checkpoint, "int4", tmp_path, leave=(left,))
    packed = pack(tmp_path, checkpoint, codec, Formats("int4", calibration))
    forms = {name: entry["format"] for name, entry in packed.facts["matrices"].items()}
    assert {forms["layer.1.down"], forms["text_head"]} == {"fp32"}
    assert forms["layer.1.qkv"] == "int4"


def test_layers_that_a_calibration_leaves_are_not_in_float16(
    codec: CodecCheckpoint, tmp_path: Path
) -> None:
    """They are scaled to fit those in few bits; heads are not."""
    checkpoint = opened(Recipe(3, dtype="float16", mlp_factor=300.0))
    left = "model.layers.1.mlp.down_proj.weight"
    calibration = calibrated(checkpoint, "int8", tmp_path, leave=(left, "speech_heads.head.weight"))
    packed = pack(tmp_path, checkpoint, codec, Formats("int8", calibration))
    entries = packed.facts["matrices"]
    assert (entries["layer.1.down"]["format"], entries["head.0.output"]["format"]) == (
        "fp32",
        "fp16",
    )
    assert entries["layer.1.down"]["gain"] > 1


def test_a_calibration_of_another_model_is_refused(codec: CodecCheckpoint, tmp_path: Path) -> None:
    checkpoint = opened(Recipe(3))
    calibration = calibrated(checkpoint, "int8", tmp_path)
    weights = dict(calibration.weights)
    weights["model.layers.9.mlp.down_proj.weight"] = next(iter(weights.values()))
    with pytest.raises(UserError, match=r"layers\.9.* is no weight of this model"):
        pack(tmp_path, checkpoint, codec, Formats("int8", replace(calibration, weights=weights)))
    weights = dict(calibration.weights) | {"speech_heads.head.weight": weights.popitem()[1]}
    with pytest.raises(UserError, match=r"speech_heads\.head\.weight is .* calibrate again"):
        pack(tmp_path, checkpoint, codec, Formats("int8", replace(calibration, weights=weights)))


def test_scales_that_float16_cannot_hold_are_refused(
    codec: CodecCheckpoint, tmp_path: Path
) -> None:
    checkpoint = opened(Recipe(3))
    calibration = calibrated(checkpoint, "int8", tmp_path)
    name, quantized = next(iter(calibration.weights.items()))
    quantized = replace(quantized, scales=np.float32(1.0001) * quantized.scales)
    weights = dict(calibration.weights) | {name: quantized}
    with pytest.raises(UserError, match="not exact in float16; calibrate again"):
        pack(tmp_path, checkpoint, codec, Formats("int8", replace(calibration, weights=weights)))
