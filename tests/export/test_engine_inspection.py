"""The inspection of parsed networks: nothing is found in what is exported, every planted fault is.

TensorRT-RTX parses all of these graphs without a complaint; no GPU is needed for that. Runs where
the extra `tensorrt-rtx` is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper

from commands.errors import UserError
from export.plans.inspection import count_products, inspect, refuse_faults
from export.plans.library import open_library
from export.plans.network import parse
from export.plans.precision_plan import plan_precision
from runtime.bundle.manifest import GraphSpec, StateSpec, TensorSpec
from runtime.bundle.names import BACKBONE, BASIC, MTP_HEAD, PORTABLE, STANDARD, TENSORRT_RTX
from tests.export.lm_exports import KINDS, Recipe, tiny_export

pytest.importorskip("tensorrt_rtx")

PLAIN = KINDS[0]
LAYERS, PRODUCTS_A_LAYER = 3, 5  # four matrix products and one attention

Plant = Callable[[onnx.GraphProto, GraphSpec], GraphSpec]


def faults_of(name: str, spec: GraphSpec, folder: Path) -> list[str]:
    network = parse(open_library(TENSORRT_RTX), name, spec, folder)
    return inspect(network, folder, plan_precision(name, spec))


def planted(folder: Path, plant: Plant, name: str = BACKBONE, dialect: str = PORTABLE) -> list[str]:
    """Faults of the exported float16 graph with something changed in it."""
    export = tiny_export(PLAIN, dialect, "fp16")
    model = onnx.load(export.folder / export.graphs[name].file)
    spec = plant(model.graph, export.graphs[name])
    onnx.save(model, folder / spec.file)
    return faults_of(name, spec, folder)


def find(graph: onnx.GraphProto, operator: str, scope: str = "") -> onnx.NodeProto:
    """The first node of this operator whose name begins with `scope`."""
    return next(n for n in graph.node if n.op_type == operator and n.name.startswith(scope))


def insert(graph: onnx.GraphProto, before: onnx.NodeProto, node: onnx.NodeProto) -> None:
    graph.node.insert(list(graph.node).index(before), node)


def declare(graph: onnx.GraphProto, spec: GraphSpec, name: str) -> GraphSpec:
    """Add an input int64 [1] to graph and manifest."""
    graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, [1]))
    return msgspec.structs.replace(spec, inputs=(*spec.inputs, TensorSpec(name, "int64", (1,))))


# What is exported.


@pytest.mark.parametrize("dialect", STANDARD)
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("recipe", KINDS, ids=str)
def test_exported_graphs_have_no_faults(recipe: Recipe, precision: Any, dialect: str) -> None:
    export = tiny_export(recipe, dialect, precision)
    for name, spec in export.graphs.items():
        assert faults_of(name, spec, export.folder) == [], name


def test_products_are_counted_by_format() -> None:
    export = tiny_export(PLAIN, "portable", "bf16")
    library = open_library(TENSORRT_RTX)
    backbone, head = (
        parse(library, name, export.graphs[name], export.folder) for name in (BACKBONE, MTP_HEAD)
    )
    assert count_products(backbone) == {"bfloat16": LAYERS * PRODUCTS_A_LAYER}
    assert count_products(head) == {}  # sums over rows in float32


# Planted faults.


def test_an_unused_input(tmp_path: Path) -> None:
    faults = planted(tmp_path, lambda graph, spec: declare(graph, spec, "forgotten"))
    assert faults == ["input forgotten is used by no layer"]


def test_an_input_that_only_a_dead_layer_uses(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        graph.node.append(helper.make_node("Neg", ["forgotten"], ["nowhere"], name="dead"))
        return declare(graph, spec, "forgotten")

    assert planted(tmp_path, plant) == ["input forgotten is used by no layer"]


def test_nonpad_kv_seqlen(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        attention = find(graph, "Attention")
        attention.input.extend(["", "", "valid_length"])
        return declare(graph, spec, "valid_length")

    faults = planted(tmp_path, plant)
    assert any("input valid_length is used by no layer" in fault for fault in faults)
    assert any("Attention" in fault and "nonpad_kv_seqlen" in fault for fault in faults)
    assert len(faults) == 2


def test_nonpad_kv_seqlen_in_place_of_the_mask(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        attention = find(graph, "Attention")
        attention.input[3] = ""
        attention.input.extend(["", "", "valid_length"])
        return declare(graph, spec, "valid_length")

    faults = planted(tmp_path, plant)
    assert any("has no mask" in fault for fault in faults)


def test_causality_left_to_the_engine(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        attention = find(graph, "Attention")
        attention.input[3] = ""
        attention.attribute.append(helper.make_attribute("is_causal", 1))
        return spec

    faults = planted(tmp_path, plant)
    assert any("is_causal" in fault for fault in faults)
    assert any("has no mask" in fault for fault in faults)


@pytest.mark.parametrize("dialect", STANDARD)
def test_a_mask_that_ignores_the_position(dialect: str, tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        visible = find(graph, "LessOrEqual")
        column = next(node for node in graph.node if node.output[0] == visible.input[1])
        new_positions = find(graph, "Range").output[0]  # counts from 0 in every call
        one_row = helper.make_node("Unsqueeze", [new_positions, "first_axis"], ["one_row"])
        insert(graph, column, one_row)
        graph.initializer.append(helper.make_tensor("first_axis", TensorProto.INT64, [1], [0]))
        column.input[0] = "one_row"
        return spec

    faults = planted(tmp_path, plant, dialect=dialect)
    assert len(faults) == LAYERS
    assert all("mask" in fault for fault in faults)
    assert all("does not depend on past_length" in fault for fault in faults)


def test_scores_without_a_mask(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        find(graph, "Softmax", "layer_1/").input[0] = find(graph, "Mul", "layer_1/scores").output[0]
        return spec

    (fault,) = planted(tmp_path, plant, dialect=BASIC)
    assert fault.startswith("the mask of layer_1/scores/Softmax")
    assert fault.endswith("does not depend on past_length")


def test_a_cache_that_is_not_selected_by_position(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        graph.initializer.append(helper.make_tensor("always", TensorProto.BOOL, [1] * 4, [True]))
        find(graph, "Where", "layer_0/").input[0] = "always"
        return spec

    (fault,) = planted(tmp_path, plant, dialect=BASIC)
    assert fault == "the select of past_key_0 does not depend on past_length"


@pytest.mark.parametrize("dialect", STANDARD)
def test_a_cache_that_nothing_updates(dialect: str, tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        update = next(node for node in graph.node if "past_key_0" in node.input)
        sources, name = [*update.input], update.output[0]
        update.CopyFrom(helper.make_node("Identity", ["past_key_0"], [name], name=update.name))
        assert len(sources) == 3
        return spec

    faults = planted(tmp_path, plant, dialect=dialect)
    assert "past_key_0 is updated by no operator that is known" in faults


def test_selected_caches_that_are_paired_wrongly(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        crossed = StateSpec("past_key_1", "present_value_1", in_place=False)
        states = [s for s in spec.states if s.input != "past_key_1"]
        return msgspec.structs.replace(spec, states=(*states, crossed))

    (fault,) = planted(tmp_path, plant, dialect=BASIC)
    assert fault.startswith("layer_1/Where")
    assert fault.endswith("does not select between past_key_1 and present_value_1")


def test_a_stray_fp32_product(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        product = find(graph, "MatMul", "layer_1/")
        for index in (0, 1):
            wide = helper.make_node(
                "Cast", [product.input[index]], [f"wide_{index}"], to=TensorProto.FLOAT
            )
            insert(graph, product, wide)
            product.input[index] = f"wide_{index}"
        name, product.output[0] = product.output[0], "wide_product"
        at = list(graph.node).index(product) + 1
        narrow = helper.make_node("Cast", ["wide_product"], [name], to=TensorProto.FLOAT16)
        graph.node.insert(at, narrow)
        for value in [value for value in graph.value_info if value.name == name]:
            graph.value_info.remove(value)
        return spec

    (fault,) = planted(tmp_path, plant)
    assert fault.startswith("layer_1/MatMul")
    assert fault.endswith("(MATRIX_MULTIPLY) computes in fp32")


def test_a_stray_fp32_activation(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        sigmoid = find(graph, "Sigmoid", "layer_2/")
        wide = helper.make_node("Cast", [sigmoid.input[0]], ["wide"], to=TensorProto.FLOAT)
        insert(graph, sigmoid, wide)
        name, sigmoid.input[0], sigmoid.output[0] = sigmoid.output[0], "wide", "wide_sigmoid"
        at = list(graph.node).index(sigmoid) + 1
        narrow = helper.make_node("Cast", ["wide_sigmoid"], [name], to=TensorProto.FLOAT16)
        graph.node.insert(at, narrow)
        return spec

    (fault,) = planted(tmp_path, plant)
    assert fault.startswith("layer_2/Sigmoid")
    assert fault.endswith("(ACTIVATION) computes in fp32")


def test_caches_that_are_paired_wrongly(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        crossed = StateSpec("past_key_1", "present_value_1", in_place=True)
        states = [s for s in spec.states if s.input != "past_key_1"]
        return msgspec.structs.replace(spec, states=(*states, crossed))

    (fault,) = planted(tmp_path, plant)
    assert "updates past_key_1 into present_key_1, which the manifest does not pair" in fault


def test_a_cache_that_is_not_updated_in_place(tmp_path: Path) -> None:
    """ScatterElements computes the same, into a second cache."""

    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        scatter = find(graph, "TensorScatter")
        renamed = f"{scatter.input[0]}_copied"
        copy = helper.make_node("Neg", [scatter.input[0]], [renamed], name="copy")
        insert(graph, scatter, copy)
        scatter.input[0] = renamed
        return spec

    faults = planted(tmp_path, plant)
    assert any("updates past_key_0_copied into present_key_0" in fault for fault in faults)


def test_a_shape_that_waits_for_the_host(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        top_k = find(graph, "TopK")
        largest = helper.make_node("ReduceMax", ["top_k"], ["largest"], keepdims=1)
        insert(graph, top_k, largest)
        top_k.input[1] = "largest"
        return spec

    faults = planted(tmp_path, plant, MTP_HEAD)
    assert "shapes depend on the value of input top_k" in " ".join(faults)


def test_a_manifest_that_says_something_else(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        half = msgspec.structs.replace(spec.inputs[0], dtype="float16")
        return msgspec.structs.replace(spec, inputs=(half, *spec.inputs[1:-1]))

    faults = planted(tmp_path, plant)
    assert "input inputs_embeds is float32 [-1, -1, 64], the manifest says float16" in faults[1]
    assert faults[0] == "input past_value_2 is in the network only"


def test_a_graph_that_is_not_as_quantized_as_it_is_called(tmp_path: Path) -> None:
    faults = planted(tmp_path, lambda graph, spec: msgspec.structs.replace(spec, precision="int8"))
    assert faults == ["no product is in int8, though the graph is called int8"]


def test_an_operator_of_another_domain(tmp_path: Path) -> None:
    """TensorRT's parser takes it for the standard operator of the same name."""

    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        find(graph, "Sigmoid").domain = "com.example"
        return spec

    (fault,) = planted(tmp_path, plant)
    assert fault.endswith("is com.example.Sigmoid, not a standard operator")


def test_faults_are_one_refusal() -> None:
    export = tiny_export(PLAIN, "portable", "fp16")
    network = parse(open_library(TENSORRT_RTX), BACKBONE, export.graphs[BACKBONE], export.folder)
    refuse_faults(network, [])
    with pytest.raises(UserError, match=r"backbone: TensorRT-RTX .* no plan is built: one; two"):
        refuse_faults(network, ["one", "two"])


def test_an_operator_that_the_parser_does_not_know(tmp_path: Path) -> None:
    def plant(graph: onnx.GraphProto, spec: GraphSpec) -> GraphSpec:
        find(graph, "Sigmoid").op_type = "Multinomial"
        return spec

    with pytest.raises(UserError, match=r"cannot parse it: .*Multinomial"):
        planted(tmp_path, plant)
