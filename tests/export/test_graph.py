"""The graph builder: what it declares, how it stores weights, how it saves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from commands.errors import UserError
from export.graph.dialects import new_graph
from export.graph.model_graph import AttentionGeometry, ModelGraph
from export.graph.precisions import GraphNumbers
from export.graph.runner import GraphRunner
from export.graph.writer import EXTERNAL_DATA_BYTES
from formats.weights import Weight, as_weight, concatenate, stack
from runtime.bundle.manifest import StateSpec, TensorSpec
from tests.export.lm_exports import DIALECTS

RNG = np.random.default_rng(0)


def linear_graph(dialect: str, weight: Weight, bias: Weight) -> ModelGraph:
    graph = new_graph("product", GraphNumbers(dialect))
    x = graph.input("x", "float32", (1, "positions", weight.shape[1]))
    shape = (1, "positions", weight.shape[0])
    graph.output("y", graph.linear(x, weight, bias), "float32", shape)
    return graph


def random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_linear_is_the_transposed_product(dialect: str, tmp_path: Path) -> None:
    weight, bias, x = random(5, 3), random(5), random(1, 4, 3)
    graph = linear_graph(dialect, as_weight("w", weight), as_weight("b", bias))
    y = GraphRunner(tmp_path, graph.save(tmp_path)).run({"x": x})["y"]
    np.testing.assert_allclose(y, x @ weight.T + bias, rtol=1e-5, atol=1e-6)


def test_small_weights_stay_inside(tmp_path: Path) -> None:
    spec = linear_graph("ort", as_weight("w", random(5, 3)), as_weight("b", random(5))).save(
        tmp_path
    )
    assert (spec.file, spec.weights) == ("product.onnx", None)
    assert [path.name for path in tmp_path.iterdir()] == ["product.onnx"]


def test_large_weights_lie_beside_the_graph(tmp_path: Path) -> None:
    rows = EXTERNAL_DATA_BYTES // 4 // 100
    weight, bias = random(rows, 100), random(rows)
    spec = linear_graph("ort", as_weight("w", weight), as_weight("b", bias)).save(tmp_path)
    assert spec.weights == "product.onnx.data"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["product.onnx", "product.onnx.data"]
    x = random(1, 2, 100)
    y = GraphRunner(tmp_path, spec).run({"x": x})["y"]
    np.testing.assert_allclose(y, x @ weight.T + bias, rtol=1e-4, atol=1e-4)


def test_weights_are_read_once_and_only_when_saved(tmp_path: Path) -> None:
    reads = []

    def read() -> np.ndarray:
        reads.append(1)
        return random(2000, 300)

    graph = linear_graph("ort", Weight("w", (2000, 300), read), as_weight("b", random(2000)))
    assert reads == []
    graph.save(tmp_path)
    assert reads == [1]


def test_a_failed_save_leaves_what_was_there(tmp_path: Path) -> None:
    def read() -> np.ndarray:
        raise OSError("the disk is full")

    (tmp_path / "product.onnx").write_text("old")
    weight = Weight("w", (EXTERNAL_DATA_BYTES, 3), read)
    graph = linear_graph("ort", weight, as_weight("b", random(EXTERNAL_DATA_BYTES)))
    with pytest.raises(OSError, match="the disk is full"):
        graph.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["product.onnx"]
    assert (tmp_path / "product.onnx").read_text() == "old"


def test_the_same_weight_is_stored_once(tmp_path: Path) -> None:
    graph = new_graph("tied", GraphNumbers("portable"))
    shared = as_weight("shared", random(4, 4))
    x = graph.input("x", "float32", (2, 4))
    y = graph.linear(graph.linear(x, shared), shared)
    graph.output("y", y, "float32", (2, 4))
    saved = onnx.load(tmp_path / graph.save(tmp_path).file)
    assert [tensor.name for tensor in saved.graph.initializer] == ["shared"]


def test_states_are_described(tmp_path: Path) -> None:
    graph = new_graph("counter", GraphNumbers("ort"))
    past = graph.state("past_count", "present_count", "int64", (1,), in_place=False)
    graph.output("present_count", graph.op.Add(past, 1), "int64", (1,))
    spec = graph.save(tmp_path)
    assert spec.states == (StateSpec("past_count", "present_count", False),)
    assert spec.inputs == (TensorSpec("past_count", "int64", (1,)),)
    runner = GraphRunner(tmp_path, spec)
    assert runner.run({}) == {}
    assert runner._states["past_count"].numpy() == 1


def test_states_need_their_output(tmp_path: Path) -> None:
    graph = new_graph("forgetful", GraphNumbers("ort"))
    past = graph.state("past_count", "present_count", "int64", (1,), in_place=False)
    graph.output("count", past, "int64", (1,))
    with pytest.raises(AssertionError, match="present_count"):
        graph.save(tmp_path)


def test_unknown_dialect() -> None:
    with pytest.raises(UserError, match="unknown dialect 'latin'; there are: ort, portable"):
        new_graph("x", GraphNumbers("latin"))


def test_an_old_onnxruntime_has_the_basic_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one for Python 3.10. The message names the way that is open there."""
    monkeypatch.setattr(onnxruntime, "__version__", "1.23.2")
    reason = r"ONNX Runtime 1\.23\.2 cannot .* install onnxruntime 1\.25 .* --dialect basic$"
    with pytest.raises(UserError, match=reason):
        new_graph("x", GraphNumbers("portable"))
    new_graph("x", GraphNumbers("basic"))


def test_ort_dialect_refuses_heads_it_cannot_rotate() -> None:
    graph = new_graph("x", GraphNumbers("ort"))
    geometry = AttentionGeometry(1, 2, 1, head_dim=24, max_positions=8, rope_theta=1e4)
    x = graph.input("x", "float32", (1, "positions", 96))
    past_length = graph.input("past_length", "int64", (1,))
    with pytest.raises(UserError, match=r"24 channels.*portable"):
        graph.attention(geometry, past_length, x)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_norms_and_activation_equal_numpy(dialect: str, tmp_path: Path) -> None:
    weight, x, update = random(6), random(1, 3, 6), random(1, 3, 6)
    graph = new_graph("norms", GraphNumbers(dialect))
    shape = (1, 3, 6)
    first, second = graph.input("x", "float32", shape), graph.input("update", "float32", shape)
    normed, total = graph.add_rms_norm(second, first, as_weight("w", weight), 1e-6)
    graph.output("normed", normed, "float32", shape)
    graph.output("total", total, "float32", shape)
    graph.output("silu", graph.silu(first), "float32", shape)
    outputs = GraphRunner(tmp_path, graph.save(tmp_path)).run({"x": x, "update": update})
    total_expected = x + update
    scale = np.sqrt(np.mean(total_expected**2, axis=-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(outputs["total"], total_expected, rtol=1e-6)
    np.testing.assert_allclose(outputs["normed"], total_expected / scale * weight, rtol=1e-5)
    np.testing.assert_allclose(outputs["silu"], x / (1 + np.exp(-x)), rtol=1e-5)


def test_lazy_weights_equal_numpy() -> None:
    a, b = random(2, 3), random(4, 3)
    joined = concatenate("joined", [as_weight("a", a), as_weight("b", b)])
    stacked = stack("stacked", [as_weight("a", a), as_weight("a2", 2 * a)])
    cases = [
        (joined, np.concatenate([a, b])),
        (joined.transposed(), np.concatenate([a, b]).T),
        (stacked.transposed(), np.stack([a.T, 2 * a.T])),
        (joined.reshaped(3, 6), np.concatenate([a, b]).reshape(3, 6)),
        (as_weight("a", a).padded(5, -1.0), np.concatenate([a, -np.ones((3, 3))])),
        (as_weight("a", a).scaled(as_weight("s", a[:1])), a * a[:1]),
    ]
    for weight, expected in cases:
        assert weight.shape == expected.shape
        np.testing.assert_array_equal(weight.read(), expected.astype(np.float32))
