"""Graphs of the basic dialect keep to what TensorRT 10.3 knows; what is beyond it is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from export.codec.decoder import build_codec_decoder
from export.codec.encoder import build_codec_encoder
from export.graph.operators_10_3 import beyond
from export.readers.codec_checkpoint import open_codec
from runtime.bundle.names import BACKBONE, MTP_HEAD
from tests.export.lm_exports import KINDS, Recipe, tiny_export
from tests.tiny_codec import make_codec_checkpoint

PLAIN = KINDS[0]


def read(path: Path) -> ir.Model:
    onnx.checker.check_model(str(path), full_check=True)  # attributes are those of the opset
    return ir.load(path)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("recipe", KINDS, ids=str)
def test_language_models_keep_to_it(recipe: Recipe, precision: str) -> None:
    export = tiny_export(recipe, "basic", precision)
    for spec in export.graphs.values():
        assert beyond(read(export.folder / spec.file)) == []


@pytest.mark.parametrize("activation", ["snake", "alias_free"])
def test_codecs_keep_to_it(tmp_path: Path, activation: str) -> None:
    codec = open_codec(make_codec_checkpoint(tmp_path / "codec", activation=activation))
    for graph in (build_codec_decoder(codec, "basic"), build_codec_encoder(codec, "basic")):
        assert beyond(read(tmp_path / graph.save(tmp_path).file)) == []


def test_portable_graphs_do_not() -> None:
    export = tiny_export(PLAIN, "portable", "fp16")
    found = beyond(read(export.folder / export.graphs[BACKBONE].file))
    assert "opset 24 is beyond 21" in found
    newer = {"RMSNormalization", "RotaryEmbedding", "TensorScatter", "Attention"}
    assert {line.partition("(")[2].partition(")")[0] for line in found[1:]} == newer


Plant = Callable[[ir.Model], None]


def first(model: ir.Model, operator: str) -> ir.Node:
    return next(node for node in model.graph if node.op_type == operator)


def newer_operator(model: ir.Model) -> None:
    first(model, "Softmax").op_type = "Swish"


def foreign_operator(model: ir.Model) -> None:
    first(model, "Softmax").domain = "com.microsoft"


def newer_opset(model: ir.Model) -> None:
    model.graph.opset_imports[""] = 22


def other_type(model: ir.Model) -> None:
    value = first(model, "Softmax").inputs[0]
    assert value is not None
    value.dtype = ir.DataType.DOUBLE


def computed_axes(model: ir.Model) -> None:
    first(model, "ReduceSum").replace_input_with(1, model.graph.inputs[0])


def many_best(model: ir.Model) -> None:
    count = first(model, "TopK").inputs[1]
    assert count is not None
    count.const_value = ir.tensor(np.array([3840]))


def unsorted_best(model: ir.Model) -> None:
    first(model, "TopK").attributes["sorted"] = ir.AttrInt64("sorted", 0)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (newer_operator, "(Swish) is no operator of TensorRT 10.3"),
        (foreign_operator, "(Softmax) is no operator of TensorRT 10.3"),
        (newer_opset, "opset 22 is beyond 21"),
        (other_type, "(Softmax): not for DOUBLE"),
        (computed_axes, "(ReduceSum): input 1 must be a constant"),
        (many_best, "(TopK): k must be a constant below 3840"),
        (unsorted_best, "(TopK): must be sorted"),
    ],
)
def test_what_is_beyond_it_is_found(plant: Plant, said: str) -> None:
    export = tiny_export(PLAIN, "basic", "fp16")
    model = read(export.folder / export.graphs[MTP_HEAD].file)
    plant(model)
    found = beyond(model)
    assert len(found) == 1
    assert said in found[0]
