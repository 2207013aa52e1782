"""Convolutions of the codec's decoder in few bits: between QuantizeLinear and DequantizeLinear.

In: `QuantizedWeight`s of a calibration, whose rows are a convolution's output channels. Out: the
operands that `export.codec.layers` gives to Conv. Portable dialect only: ONNX Runtime's own INT8
convolution also needs an 8-bit output, and is hardly faster than float32. It does not know where
scales come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from commands.errors import UserError
from export.graph.model_graph import ModelGraph
from export.graph.writer import Value
from export.quantization.products import STORED, few_bits, require_fit
from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.record import AGAIN
from formats.weights import Weight


class ConvolutionFormat(Protocol):
    """The number format of one convolution."""

    def operands(self, graph: ModelGraph, x: Value, weight: Weight) -> tuple[Value, Value]:
        """Conv's operands for x (1, in, 1, T) and weight (out, in, 1, taps), both float32."""


class Floats:
    """Both operands as they are."""

    def operands(self, graph: ModelGraph, x: Value, weight: Weight) -> tuple[Value, Value]:
        return x, graph.weight(weight)


@dataclass(frozen=True)
class QuantizedConvolution:
    """INT8 or FP8 on both sides: one scale for the input, one for each output channel."""

    quantized: QuantizedWeight

    def operands(self, graph: ModelGraph, x: Value, weight: Weight) -> tuple[Value, Value]:
        rows = as_rows(weight)
        require_fit(self.quantized, rows)
        if self.quantized.scales.shape[1] != 1 or self.quantized.activation_scale is None:
            raise UserError(
                f"{weight.name} needs a scale for each output channel and one for its input; "
                f"{AGAIN}"
            )
        dtype, stored = STORED[self.quantized.form.name]
        codes = graph.lazy_constant(
            f"{weight.name}.codes",
            dtype,
            weight.shape,
            lambda: self.quantized.encode(rows.read()).astype(stored).reshape(weight.shape),
        )
        scales = np.ascontiguousarray(self.quantized.scales[:, 0])
        kernel = graph.op.DequantizeLinear(
            codes, graph.constant(scales, f"{weight.name}.scales"), axis=0
        )
        return few_bits(graph, x, self.quantized, weight.name), kernel


def as_rows(weight: Weight) -> Weight:
    """A convolution's weight (out, …) as (out, inputs · taps)."""
    outputs = weight.shape[0]
    return weight.reshaped(outputs, int(np.prod(weight.shape[1:])))


FLOATS = Floats()


@dataclass(frozen=True)
class ConvolutionFormats:
    """The format of every convolution: the usual one, unless `by_name` has one for its weight."""

    usual: ConvolutionFormat = FLOATS
    by_name: Mapping[str, ConvolutionFormat] = field(default_factory=dict)

    def of(self, weight: Weight) -> ConvolutionFormat:
        return self.by_name.get(weight.name, self.usual)


ALL_FLOATS = ConvolutionFormats()


def quantized_convolutions(weights: Mapping[str, QuantizedWeight]) -> ConvolutionFormats:
    """Formats of all convolutions: quantized if `weights` has the weight, otherwise floats."""
    return ConvolutionFormats(
        by_name={name: QuantizedConvolution(weight) for name, weight in weights.items()}
    )
