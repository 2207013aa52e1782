"""In which number format each matrix product with a weight is computed.

In: the precision of an export, and formats for single weights. Out: a `LinearFormat` for every
weight that `ModelGraph.linear` is given. It knows neither models nor scales.

A format is a class with one method, `product`. It decides how the weight is stored
(`ModelGraph.weight` for floats, `constant` and `lazy_constant` for integers and scales) and which
operators stand around the product. In essence, `product` of an INT8 format is

    weight = graph.op.DequantizeLinear(graph.lazy_constant(codes), graph.constant(scales), axis=…)
    x = graph.op.DequantizeLinear(graph.op.QuantizeLinear(graph.widen(x), step, zero), step, zero)
    return graph.op.MatMul(x, weight)

`export.quantization.products` has the formats of few bits. A weight gets a format of its own by
its name; `ModelGraph.products` lists all names:

    formats = WeightFormats(INT8, by_name={"model.layers.0.mlp.down_proj.weight": FLOAT16})
    build_backbone(checkpoint, GraphNumbers("portable", "int8", formats))

In float16 graphs, some weights and activations carry factors that keep them in range
(`export.language_model.half_range`). Statistics of activations are therefore taken from a graph of
the same precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from export.graph.writer import GraphWriter, Value
from formats.precisions import FEW_BITS
from formats.weights import Weight
from runtime.bundle.manifest import DType, Precision

# Decoder layers are fitted to float16 in every dialect, so that one calibration serves both.
QUANTIZED: frozenset[Precision] = frozenset(FEW_BITS)

_FLOATS: dict[Precision, DType] = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


class LinearFormat(Protocol):
    """How the product with one weight is written."""

    def product(self, graph: GraphWriter, x: Value, weight: Weight) -> Value:
        """x (…, in) times the transpose of weight (out, in): (…, out).

        Or batched: x (N, S, in) and weight (N, out, in). x is float32 or of the type
        `graph.compute`, and so is the result; `graph.cast` and `graph.widen` convert.
        """


@dataclass(frozen=True)
class StoredAs:
    """Weight, factors and result are floats of type `dtype`; sums are the engine's, in float32."""

    dtype: DType

    def product(self, graph: GraphWriter, x: Value, weight: Weight) -> Value:
        stored = graph.weight(weight.transposed(), self.dtype)
        return graph.op.MatMul(graph.cast(x, self.dtype), stored)


@dataclass(frozen=True)
class RowSums:
    """Product as sums over float32 rows of the weight, with no matrix product.

    TensorRT has no float32 matrix products for Turing (SM75), and rounds their factors to ten
    bits on later GPUs (TF32). A sum over each row of the weight is float32 everywhere. For few
    positions it costs the same as a product, because reading the weight takes most of the time.
    """

    def product(self, graph: GraphWriter, x: Value, weight: Weight) -> Value:
        *batch, outputs, inputs = weight.shape
        rows = graph.weight(weight.reshaped(*batch, 1, outputs, inputs) if batch else weight)
        terms = graph.op.Mul(rows, graph.op.Unsqueeze(graph.widen(x), [-2]))  # (…, S, out, in)
        return graph.op.ReduceSum(terms, [-1], keepdims=0)


FLOAT32 = StoredAs("float32")
ROW_SUMS = RowSums()


@dataclass(frozen=True)
class WeightFormats:
    """The format of every weight: the usual one, unless `by_name` has one for its name."""

    usual: LinearFormat
    by_name: Mapping[str, LinearFormat] = field(default_factory=dict)

    def of(self, weight: Weight, compute: DType, exact: bool) -> LinearFormat:
        """The format of `weight` in a graph that computes in `compute`.

        exact: rounding could change which code wins, so the weight is float32 unless `by_name` has
        a format for it.
        """
        exactly = FLOAT32 if compute == "float32" else ROW_SUMS
        return self.by_name.get(weight.name, exactly if exact else self.usual)


def plain_formats(precision: Precision) -> WeightFormats:
    """All weights as floats of this precision.

    Precisions of few bits need scales, so their formats are made from a calibration.
    """
    assert precision in _FLOATS, f"{precision} needs the formats of a calibration"
    return WeightFormats(StoredAs(_FLOATS[precision]))


@dataclass(frozen=True)
class GraphNumbers:
    """What one graph computes in: the dialect of its operators, and its number formats.

    formats: of its weights; None for floats of the precision.
    """

    dialect: str
    precision: Precision = "fp32"
    formats: WeightFormats | None = None
