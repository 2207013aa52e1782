"""Number formats of single weights: who is asked, with what, and what becomes of the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest

from commands.errors import UserError
from export.graph.dialects import new_graph
from export.graph.precisions import (
    FLOAT32,
    ROW_SUMS,
    GraphNumbers,
    LinearFormat,
    Precision,
    StoredAs,
    WeightFormats,
)
from export.graph.runner import GraphRunner
from export.graph.writer import GraphWriter, Value
from export.language_model.graphs import language_model_graphs
from formats.weights import Weight, as_weight
from runtime.bundle.names import BACKBONE, MTP_HEAD
from tests.export.lm_exports import Recipe, tiny_export

RNG = np.random.default_rng(0)


@dataclass
class Recording:
    """The usual format, and a list of the weights it has been asked for."""

    asked: list[str] = field(default_factory=list)

    def product(self, graph: GraphWriter, x: Value, weight: Weight) -> Value:
        self.asked.append(weight.name)
        return StoredAs("float16").product(graph, x, weight)


def test_every_product_asks_for_its_format() -> None:
    """Scores of codes are exact unless a weight's name says otherwise."""
    export = tiny_export(Recipe(heads=6), "portable", "fp16")
    scores = "speech_heads.head.weight"
    usual, single = Recording(), Recording()
    formats = WeightFormats(
        usual, by_name={scores: single, "model.layers.1.mlp.down_proj.weight": single}
    )
    backbone, head = language_model_graphs(
        export.checkpoint, GraphNumbers("portable", "fp16", formats)
    )
    assert (backbone.name, head.name) == (BACKBONE, MTP_HEAD)
    assert len(usual.asked) == 3 * 4 - 1
    assert single.asked == ["model.layers.1.mlp.down_proj.weight", scores]
    assert [*backbone.products, *head.products] == sorted(
        {*usual.asked, *single.asked}, key=[*backbone.products, *head.products].index
    )
    assert head.products == {scores: (6 * 1026, 64)}


@pytest.mark.parametrize("linear_format", [FLOAT32, ROW_SUMS], ids=["product", "row sums"])
@pytest.mark.parametrize("shape", [(5, 3), (4, 5, 3)], ids=str)
def test_exact_products_equal_numpy(
    linear_format: LinearFormat, shape: tuple[int, ...], tmp_path: Path
) -> None:
    weight = RNG.standard_normal(shape).astype(np.float32)
    x = RNG.standard_normal((*shape[:-2], 1, 3)).astype(np.float32)
    graph = new_graph("product", GraphNumbers("portable"))
    y = linear_format.product(graph, graph.input("x", "float32", x.shape), as_weight("w", weight))
    graph.output("y", y, "float32", (*shape[:-2], 1, 5))
    got = GraphRunner(tmp_path, graph.save(tmp_path)).run({"x": x})["y"]
    np.testing.assert_allclose(got, x @ np.swapaxes(weight, -1, -2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("precision", "element"),
    [("fp16", onnx.TensorProto.FLOAT16), ("bf16", onnx.TensorProto.BFLOAT16)],
)
def test_weights_are_rounded_to_nearest(precision: Precision, element: int, tmp_path: Path) -> None:
    weight, x = RNG.standard_normal((5, 3)).astype(np.float32), np.eye(3, dtype=np.float32)
    graph = new_graph("product", GraphNumbers("portable", precision))
    y = graph.linear(graph.input("x", "float32", (3, 3)), as_weight("w", weight))
    graph.output("y", graph.widen(y), "float32", (3, 5))
    spec = graph.save(tmp_path)
    (stored,) = onnx.load(tmp_path / spec.file).graph.initializer
    assert stored.data_type == element
    bits = {"fp16": 11, "bf16": 8}[precision]
    got = GraphRunner(tmp_path, spec).run({"x": x})["y"].T
    assert np.all(np.abs(got - weight) <= np.abs(weight) * 2.0**-bits)
    assert not np.array_equal(got, weight)


def test_a_weight_beyond_float16_is_refused(tmp_path: Path) -> None:
    graph = new_graph("product", GraphNumbers("portable", "fp16"))
    weight = as_weight("loud.weight", np.full((5, 3), 7e4))
    y = graph.linear(graph.input("x", "float32", (1, 3)), weight)
    graph.output("y", graph.widen(y), "float32", (1, 5))
    with pytest.raises(UserError, match=r"loud.weight: 7e\+04 is beyond float16; .* bf16"):
        graph.save(tmp_path)
