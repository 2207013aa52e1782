"""Quantized matrix products in ONNX Runtime against numpy, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from calibration.methods.weight_scales import weight_scales
from commands.errors import UserError
from export.graph.dialects import new_graph
from export.graph.onnxruntime_version import check_onnxruntime
from export.graph.precisions import GraphNumbers
from export.graph.runner import GraphRunner
from export.quantization.products import ORT_BLOCK, part_name, quantized_formats
from formats.calibration.quantized_weight import QuantizedWeight
from formats.number_formats import FORMATS, FP8, INT4, INT8, FormatName, spread
from formats.weights import as_weight

OUT, IN, ROWS = 24, 128, 5
FORMS: list[tuple[FormatName, str, int]] = [
    ("int8", "ort", IN),
    ("int4", "ort", 32),
    ("int8", "portable", IN),
    ("fp8", "portable", IN),
    ("int4", "portable", 32),
    ("int8", "basic", IN),
    ("fp8", "basic", IN),
    ("int4", "basic", 64),
]


def random_weight(seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((OUT, IN)) / IN**0.5).astype(np.float32)


def random_inputs(*shape: int) -> np.ndarray:
    inputs = np.random.default_rng(9).standard_normal(shape).astype(np.float32)
    inputs[..., 7] *= 30.0
    return inputs


def quantize(weight: np.ndarray, name: FormatName, block: int, smooth: bool) -> QuantizedWeight:
    form = FORMATS[name]
    smoothing = np.linspace(0.5, 2.0, IN, dtype=np.float32) if smooth else None
    smoothed = weight * (smoothing if smoothing is not None else 1.0)
    scale = None if name == "int4" else float(np.float16(110.0 / form.largest))
    return QuantizedWeight(
        form,
        block,
        weight_scales(smoothed, block, form, "mse"),
        smoothing,
        activation_scale=scale,
    )


def rounded_in_blocks(inputs: np.ndarray, block: int) -> np.ndarray:
    """Inputs (…, 128) as MatMulNBits rounds them: INT8 with a scale for each block."""
    parts = [inputs[..., start : start + block] for start in range(0, IN, block)]
    scales = [np.abs(part).max(axis=-1, keepdims=True) / 127 for part in parts]
    rounded = [INT8.approximate(*pair) for pair in zip(parts, scales, strict=True)]
    return np.concatenate(rounded, axis=-1)


def expected_product(
    inputs: np.ndarray, weight: np.ndarray, quantized: QuantizedWeight, dialect: str
) -> np.ndarray:
    """What the product is by definition: rounded inputs times rounded weights."""
    x = inputs if quantized.smoothing is None else inputs / quantized.smoothing
    if dialect == "ort":
        x = rounded_in_blocks(x, quantized.block if quantized.block < IN else ORT_BLOCK)
    elif quantized.activation_scale is not None:
        x = quantized.form.approximate(x, quantized.activation_scale)
    rounded = quantized.encode(weight) * spread(quantized.scales, IN)
    return x @ rounded.T


def run_product(
    folder: Path,
    dialect: str,
    precision: FormatName,
    weights: Mapping[str, QuantizedWeight],
    weight: np.ndarray,
    inputs: np.ndarray,
) -> np.ndarray:
    graph = new_graph(
        "product", GraphNumbers(dialect, precision, quantized_formats(weights, dialect))
    )
    x = graph.input("x", "float32", inputs.shape)
    product = graph.widen(graph.linear(x, as_weight("w", weight)))
    graph.output("y", product, "float32", (*inputs.shape[:-1], OUT))
    return GraphRunner(folder, graph.save(folder)).run({"x": inputs})["y"]


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("smooth", [False, True], ids=["plain", "smoothed"])
@pytest.mark.parametrize(("name", "dialect", "block"), FORMS)
def test_products_are_those_of_rounded_factors(
    name: FormatName, dialect: str, block: int, smooth: bool, tmp_path: Path
) -> None:
    weight, inputs = random_weight(), random_inputs(1, ROWS, IN)
    quantized = quantize(weight, name, block, smooth)
    actual = run_product(tmp_path, dialect, name, {"w": quantized}, weight, inputs)
    expected = expected_product(inputs, weight, quantized, dialect)
    # float16 may move an input to the next code: worth 0.3 % of the largest product
    assert relative(actual, expected) < 0.01
    assert relative(actual, inputs @ weight.T) > 1e-4, "nothing was quantized"


def test_negative_scales_are_for_onnx_runtimes_own_dialect(tmp_path: Path) -> None:
    weight, inputs = random_weight(), random_inputs(1, ROWS, IN)
    scales = weight_scales(weight, 32, INT4, "signed")
    assert (scales < 0).any()
    quantized = QuantizedWeight(INT4, 32, scales)
    actual = run_product(tmp_path, "ort", "int4", {"w": quantized}, weight, inputs)
    assert relative(actual, expected_product(inputs, weight, quantized, "ort")) < 0.01
    check_onnxruntime()
    with pytest.raises(UserError, match="negative scales, which TensorRT does not take"):
        run_product(tmp_path, "portable", "int4", {"w": quantized}, weight, inputs)


@pytest.mark.parametrize("dialect", ["ort", "portable"])
def test_stored_codes_are_used_as_they_are(dialect: str, tmp_path: Path) -> None:
    """Codes from GPTQ are not the nearest ones."""
    weight, inputs = random_weight(), random_inputs(1, ROWS, IN)
    scales = weight_scales(weight, 32, INT4, "max")
    codes = np.random.default_rng(3).integers(-8, 8, (OUT, IN)).astype(np.float32)
    quantized = QuantizedWeight(INT4, 32, scales, codes=codes)
    actual = run_product(tmp_path, dialect, "int4", {"w": quantized}, weight, inputs)
    expected = expected_product(inputs, weight, quantized, dialect)
    assert relative(actual, expected) < 0.002


@pytest.mark.parametrize(("name", "dialect", "block"), FORMS)
def test_a_batch_is_quantized_part_by_part(
    name: FormatName, dialect: str, block: int, tmp_path: Path
) -> None:
    """Part 1 of three stays as it is."""
    weights = np.stack([random_weight(seed) for seed in range(3)])
    inputs = random_inputs(3, ROWS, IN)
    quantized = {
        part_name("w", index): quantize(weights[index], name, block, smooth=False)
        for index in (0, 2)
    }
    actual = run_product(tmp_path, dialect, name, quantized, weights, inputs)
    for index in (0, 2):
        expected = expected_product(
            inputs[index], weights[index], quantized[part_name("w", index)], dialect
        )
        assert relative(actual[index], expected) < 0.02
    assert relative(actual[1], inputs[1] @ weights[1].T) < 1e-3


@pytest.mark.parametrize(
    ("name", "dialect", "operators"),
    [
        ("int8", "ort", {"MatMulNBits"}),
        ("int4", "ort", {"MatMulNBits"}),
        ("int8", "portable", {"QuantizeLinear", "DequantizeLinear", "MatMul", "Cast"}),
        ("fp8", "portable", {"QuantizeLinear", "DequantizeLinear", "MatMul", "Cast"}),
        ("int4", "portable", {"DequantizeLinear", "MatMul", "Cast"}),
        ("int8", "basic", {"QuantizeLinear", "DequantizeLinear", "MatMul", "Cast"}),
        ("fp8", "basic", {"QuantizeLinear", "DequantizeLinear", "MatMul", "Cast"}),
        ("int4", "basic", {"DequantizeLinear", "MatMul", "Cast"}),
    ],
)
def test_operators_and_size(
    name: FormatName, dialect: str, operators: set[str], tmp_path: Path
) -> None:
    """Symmetric INT8, FP8 and INT4, stored in no more bits than that."""
    weight = random_weight()
    quantized = quantize(weight, name, 64 if name == "int4" else IN, smooth=False)
    run_product(tmp_path, dialect, name, {"w": quantized}, weight, random_inputs(1, 1, IN))
    graph = onnx.load(tmp_path / "product.onnx").graph
    assert {node.op_type for node in graph.node} == operators
    codes = next(tensor for tensor in graph.initializer if tensor.name == "w.codes")
    columns = 128 if (name, dialect) == ("int8", "ort") else IN  # whole blocks
    assert len(codes.raw_data) == OUT * columns * FORMATS[name].bits // 8
    if dialect != "ort":
        zeros = [tensor for tensor in graph.initializer if tensor.name.endswith("zero")]
        assert all(not any(tensor.raw_data) for tensor in zeros)
        stored = {INT8: "INT8", FP8: "FLOAT8E4M3FN", INT4: "INT4"}[FORMATS[name]]
        assert codes.data_type == onnx.TensorProto.DataType.Value(stored)


def test_blocks_that_tensorrt_lacks(tmp_path: Path) -> None:
    weight = random_weight()
    quantized = quantize(weight, "int4", 32, smooth=False)
    with pytest.raises(UserError, match=r"blocks of 32 channels, TensorRT takes 64 or 128"):
        run_product(tmp_path, "basic", "int4", {"w": quantized}, weight, random_inputs(1, 1, IN))


@pytest.mark.parametrize("dialect", ["ort", "portable"])
def test_scales_of_another_shape_are_refused(dialect: str, tmp_path: Path) -> None:
    if dialect == "portable":
        check_onnxruntime()
    quantized = quantize(random_weight(), "int8", IN, smooth=False)
    wider = np.zeros((OUT + 1, IN), np.float32)
    with pytest.raises(UserError, match=r"w is \[25, 128\]"):
        run_product(tmp_path, dialect, "int8", {"w": quantized}, wider, random_inputs(1, 1, IN))
