"""Matrix products with quantized weights, as each dialect writes them.

In: `QuantizedWeight`s of a calibration. Out: `WeightFormats` for `ModelGraph.linear`. The standard
dialects get symmetric QuantizeLinear and DequantizeLinear, which TensorRT fuses: INT8 and FP8 on
both sides of a product, INT4 in blocks of the weight only. The ort dialect gets MatMulNBits,
which keeps 8- or 4-bit weights in memory and rounds activations to 8 bits on the fly. Scales,
smoothing and stored codes come from the calibration; here they become nodes of a graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx_ir as ir

from commands.errors import UserError
from export.graph.ort_graph import OrtGraph
from export.graph.precisions import LinearFormat, StoredAs, WeightFormats
from export.graph.writer import GraphWriter, Value
from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.reader import Calibration
from formats.calibration.record import AGAIN
from formats.number_formats import FormatName, pack_nibbles
from formats.precisions import TENSORRT_BLOCKS
from formats.weights import Array, Weight
from runtime.bundle.names import BASIC

ORT_BLOCK = 128  # the fastest, for weights with one scale for each output channel
INTEGER_ACTIVATIONS = 4  # MatMulNBits' accuracy_level: products of integers

STORED: dict[FormatName, tuple[ir.DataType, np.dtype]] = {
    "int8": (ir.DataType.INT8, np.dtype(np.int8)),
    "int4": (ir.DataType.INT4, np.dtype(ml_dtypes.int4)),
    "fp8": (ir.DataType.FLOAT8E4M3FN, np.dtype(ml_dtypes.float8_e4m3fn)),
}
_PART = re.compile(r"(.+)\[(\d+)\]")


def quantized_formats(weights: Mapping[str, QuantizedWeight], dialect: str) -> WeightFormats:
    """Formats of all weights: quantized if `weights` has the weight, otherwise floats.

    The weight of head 2 in a batch of heads is called "name[2]".
    """
    others = StoredAs("float32" if dialect == OrtGraph.dialect else "float16")
    make: Callable[[QuantizedWeight], LinearFormat] = (
        FewBits if dialect == OrtGraph.dialect else QuantizedPair
    )
    by_name: dict[str, LinearFormat] = {}
    batches: dict[str, dict[int, LinearFormat]] = {}
    for name, weight in weights.items():
        if part := _PART.fullmatch(name):
            batches.setdefault(part[1], {})[int(part[2])] = make(weight)
        else:
            by_name[name] = make(weight)
    by_name |= {name: SideBySide(parts, others) for name, parts in batches.items()}
    return WeightFormats(others, by_name=by_name)


def require_known(calibration: Calibration, products: Mapping[str, tuple[int, ...]]) -> None:
    """Raise `UserError` if the calibration has weights that no graph has."""
    for name in calibration.weights:
        part = _PART.fullmatch(name)
        shape = products.get(part[1] if part else name, ())
        if not shape or (part is not None and int(part[2]) >= shape[0]):
            raise UserError(f"{calibration.folder}: {name} is no weight of this model; {AGAIN}")


def part_name(name: str, index: int) -> str:
    """The name of one weight in a batch."""
    return f"{name}[{index}]"


@dataclass(frozen=True)
class FewBits:
    """com.microsoft.MatMulNBits. It does not use a static scale of activations: each block of each
    input gets its own scale when the product is computed."""

    quantized: QuantizedWeight

    def product(self, graph: GraphWriter, x: Value, weight: Weight) -> Value:
        assert isinstance(graph, OrtGraph)
        outputs, inputs = weight.shape
        require_fit(self.quantized, weight)
        is_whole = self.quantized.scales.shape[1] == 1  # its only scale can be repeated
        bits, block = self.quantized.form.bits, ORT_BLOCK if is_whole else self.quantized.block
        blocks = -(-inputs // block)
        packed = graph.lazy_constant(
            f"{weight.name}.codes",
            ir.DataType.UINT8,
            (outputs, blocks, block * bits // 8),
            lambda: self._packed(weight, block),
        )
        scales = np.broadcast_to(self.quantized.scales, (outputs, blocks))
        product = graph.fused.MatMulNBits(
            _smoothed(graph, graph.widen(x), self.quantized, weight.name),
            packed,
            graph.constant(np.ascontiguousarray(scales), f"{weight.name}.scales"),
            K=inputs,
            N=outputs,
            bits=bits,
            block_size=block,
            accuracy_level=INTEGER_ACTIVATIONS,
        )
        product.dtype = ir.DataType.FLOAT
        return product

    def _packed(self, weight: Weight, block: int) -> Array:
        """Bytes (out, blocks, block · bits / 8); code 0 is stored as the middle of the range."""
        bits = self.quantized.form.bits
        middle = 2 ** (bits - 1)
        codes = self.quantized.encode(weight.read())
        outputs, inputs = codes.shape
        codes = np.pad(codes, ((0, 0), (0, -inputs % block)))  # zeros change no sum
        stored = (codes + middle).astype(np.uint8).reshape(outputs, -1, block)
        return pack_nibbles(stored) if bits == 4 else stored


@dataclass(frozen=True)
class QuantizedPair:
    """QuantizeLinear and DequantizeLinear of inputs (INT8, FP8), DequantizeLinear of weights."""

    quantized: QuantizedWeight

    def product(self, graph: GraphWriter, x: Value, weight: Weight) -> Value:
        require_fit(self.quantized, weight)
        self._require_scales(graph, weight)
        x = _smoothed(graph, graph.narrow(x), self.quantized, weight.name)
        if self.quantized.activation_scale is not None:
            x = few_bits(graph, x, self.quantized, weight.name)
        return graph.op.MatMul(x, self._dequantized(graph, weight))

    def _require_scales(self, graph: GraphWriter, weight: Weight) -> None:
        """Raise `UserError` for scales that TensorRT does not take."""
        if (self.quantized.scales < 0).any():
            raise UserError(
                f"{weight.name} has negative scales, which TensorRT does not take: calibrate with "
                "--weights mse, or export for ONNX Runtime or the native engine"
            )
        has_blocks = self.quantized.form.name == "int4"
        if graph.dialect == BASIC and has_blocks and self.quantized.block not in TENSORRT_BLOCKS:
            raise UserError(
                f"{weight.name} has blocks of {self.quantized.block} channels, TensorRT takes "
                f"{' or '.join(map(str, TENSORRT_BLOCKS))}: calibrate with --block "
                f"{TENSORRT_BLOCKS[0]}, or for TensorRT-RTX export with --dialect portable"
            )

    def _dequantized(self, graph: GraphWriter, weight: Weight) -> Value:
        """The weight, transposed: (in, out) of type `graph.compute`."""
        dtype, stored = STORED[self.quantized.form.name]
        codes = graph.lazy_constant(
            f"{weight.name}.codes",
            dtype,
            weight.shape[::-1],
            lambda: np.ascontiguousarray(self.quantized.encode(weight.read()).T.astype(stored)),
        )
        scales = self.quantized.scales.T.astype(graph.compute)  # (blocks, out)
        name = f"{weight.name}.scales"
        if self.quantized.form.name != "int4":  # INT4 has blocks, were it only one
            return graph.op.DequantizeLinear(codes, graph.constant(scales[0], name), axis=1)
        scales_value = graph.constant(np.ascontiguousarray(scales), name)
        return graph.op.DequantizeLinear(
            codes, scales_value, axis=0, block_size=self.quantized.block
        )


@dataclass(frozen=True)
class SideBySide:
    """A batched product as one product for each part, because engines have no quantized products
    of batches.

    The result has the type that the dialect computes in, as all parts have.
    """

    parts: Mapping[int, LinearFormat]
    others: LinearFormat

    def product(self, graph: GraphWriter, x: Value, weight: Weight) -> Value:
        count, *shape = weight.shape
        inputs = graph.op.Split(x, num_outputs=count, axis=0, _outputs=count)
        products = [
            self.parts.get(index, self.others).product(
                graph, inputs[index], _part(weight, index, tuple(shape))
            )
            for index in range(count)
        ]
        return graph.op.Concat(*products, axis=0)


def few_bits(graph: GraphWriter, x: Value, quantized: QuantizedWeight, name: str) -> Value:
    """x rounded to the number format of the weight called `name`, in x's own type."""
    assert quantized.activation_scale is not None
    assert x.dtype is not None
    _, stored = STORED[quantized.form.name]
    step = graph.constant(
        np.array(quantized.activation_scale, x.dtype.numpy()), f"{name}.input_scale"
    )
    zero = graph.constant(np.zeros((), stored), f"{name}.input_zero")
    return graph.op.DequantizeLinear(graph.op.QuantizeLinear(x, step, zero), step, zero)


def require_fit(quantized: QuantizedWeight, weight: Weight) -> None:
    """Raise `UserError` if the scales belong to a weight of another shape."""
    if quantized.shape != weight.shape:
        raise UserError(
            f"{weight.name} is {list(weight.shape)}, its calibration for {list(quantized.shape)}; "
            f"{AGAIN}"
        )


def _part(weight: Weight, index: int, shape: tuple[int, ...]) -> Weight:
    return Weight(part_name(weight.name, index), shape, lambda: weight.read()[index])


def _smoothed(graph: GraphWriter, x: Value, quantized: QuantizedWeight, name: str) -> Value:
    if quantized.smoothing is None:
        return x
    inverse = (1.0 / quantized.smoothing).astype(graph.compute)
    return graph.op.Mul(x, graph.constant(inverse, f"{name}.smoothing"))
