"""One product of the native engine: its weights, and what the engine needs besides them.

In: a weight, and its `QuantizedWeight` if a calibration has it. Out: a `Matrix`, which becomes
tensors of the file and an entry in its metadata. Values are read, rounded and packed in blocks of
rows when the file is written. It does not know which products a model has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from commands.errors import UserError
from export.native.layout import FEW_BITS, LANES, PANEL, Format, Layout, fill_up, round_up
from export.native.weight_file import Tensor
from export.quantization.products import ORT_BLOCK, require_fit
from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.record import AGAIN
from formats.weights import Array, Weight

BLOCK_VALUES = 2**20  # of a weight, which are rounded and packed at once; they stay in the cache
CODES, SCALES, BIAS, SMOOTHING = "codes", "scales", "bias", "smoothing"


@dataclass(frozen=True)
class Matrix:
    """A product's weights.

    rows: reads them, float32 (outputs, taps, channels): values, or codes in few bits.
    encode: turns rows `start` … `stop` - 1 of these into what is packed. scales: float32 (outputs,
    scale_blocks). smoothing: factors of the inputs (channels). gain: a power of two that the
    product is multiplied by. input_scale: of the input's codes, if that is fixed.
    """

    name: str
    layout: Layout
    rows: Callable[[], Array]
    encode: Callable[[Array, int, int], Array] | None = None
    scales: Array | None = None
    smoothing: Array | None = None
    bias: Weight | None = None
    gain: float = 1.0
    input_scale: float | None = None

    def facts(self) -> dict[str, Any]:
        """Its entry in the metadata."""
        layout = self.layout
        facts: dict[str, Any] = {
            "format": layout.format,
            "outputs": layout.outputs,
            "channels": layout.channels,
            "taps": layout.taps,
        }
        if layout.format in FEW_BITS:
            facts |= {"block": layout.block, "scale_blocks": layout.scale_blocks}
        if self.gain != 1.0:
            facts["gain"] = self.gain
        if self.input_scale is not None:
            facts["input_scale"] = self.input_scale
        return facts

    def tensors(self) -> Iterator[Tensor]:
        """Codes, then scales, smoothing and bias if it has them."""
        layout = self.layout
        yield self._tensor(CODES, layout.codes_type, layout.codes_shape, self._packed)
        if self.scales is not None:
            packed = layout.pack_scales(self.scales)
            yield self._tensor(SCALES, "F16", layout.scales_shape, lambda: iter([packed]))
        if self.smoothing is not None:
            factors = np.zeros(layout.inputs, "<f4")
            factors[: len(self.smoothing)] = self.smoothing
            yield self._tensor(SMOOTHING, "F32", factors.shape, lambda: iter([factors]))
        if self.bias is not None:
            yield self._tensor(BIAS, "F32", (layout.panels * PANEL,), self._filled_bias)

    def _tensor(
        self,
        kind: str,
        dtype: str,
        shape: tuple[int, ...],
        blocks: Callable[[], Iterator[Array]],
    ) -> Tensor:
        return Tensor(f"{self.name}.{kind}", dtype, shape, blocks)

    def _packed(self) -> Iterator[Array]:
        values, outputs = self.rows(), self.layout.outputs
        block = max(PANEL, round_up(BLOCK_VALUES // self.layout.inputs, PANEL))
        for start in range(0, outputs, block):
            stop = min(start + block, outputs)
            rows = values[start:stop]
            if self.encode is not None:
                rows = self.encode(rows, start, stop)
            yield self.layout.pack_codes(rows)

    def _filled_bias(self) -> Iterator[Array]:
        assert self.bias is not None
        values = self.bias.read()
        assert values.shape == (self.layout.outputs,), (self.name, values.shape)
        yield fill_up(values, 0, PANEL).astype("<f4")


def float_matrix(name: str, form: Format, weight: Weight, bias: Weight | None = None) -> Matrix:
    """The matrix of a weight (outputs, channels), or of a convolution's (outputs, channels, taps),
    whose values are floats."""
    outputs, channels, taps = (*weight.shape, 1)[:3]
    layout = Layout(form, outputs, channels, taps)
    return Matrix(name, layout, lambda: _in_time_order(weight.read()), bias=bias)


def quantized_matrix(
    name: str, quantized: QuantizedWeight, weight: Weight, bias: Weight | None = None
) -> Matrix:
    """The matrix of a weight (outputs, channels) in the codes of a calibration.

    Inputs are rounded in blocks as ONNX Runtime's MatMulNBits rounds them, with a scale for each.
    """
    require_fit(quantized, weight)
    outputs, channels = weight.shape
    is_whole = quantized.scales.shape[1] == 1
    block = ORT_BLOCK if is_whole else quantized.block
    layout = Layout(
        _format(quantized, name), outputs, channels, 1, block, quantized.scales.shape[1]
    )

    def encode(rows: Array, start: int, stop: int) -> Array:
        return part(quantized, slice(start, stop)).encode(rows[:, 0])[:, None]

    return Matrix(
        name,
        layout,
        lambda: weight.read()[:, None],
        encode,
        exact_scales(quantized, weight.name),
        None if quantized.smoothing is None else 1.0 / quantized.smoothing,
        bias,
    )


def quantized_convolution(
    name: str, quantized: QuantizedWeight, weight: Weight, bias: Weight, order: Array | None = None
) -> Matrix:
    """The matrix of a convolution (outputs, channels, taps) in the codes of a calibration.

    order: which of the calibration's outputs each output is.
    """
    outputs, channels, taps = weight.shape
    rows = weight.reshaped(outputs, channels * taps)
    require_fit(quantized, rows)
    if quantized.scales.shape[1] != 1 or quantized.activation_scale is None:
        raise UserError(
            f"{weight.name} needs a scale for each output channel and one for its input; {AGAIN}"
        )
    picked = slice(None) if order is None else order
    block = taps * round_up(channels, LANES)
    return Matrix(
        name,
        Layout(_format(quantized, name), outputs, channels, taps, block, 1),
        lambda: _in_time_order(quantized.encode(rows.read()).reshape(weight.shape)[picked]),
        scales=exact_scales(quantized, weight.name)[picked],
        bias=bias,
        input_scale=quantized.activation_scale,
    )


def part(quantized: QuantizedWeight, rows: slice) -> QuantizedWeight:
    """Some of a weight's outputs."""
    codes = None if quantized.codes is None else quantized.codes[rows]
    return replace(quantized, scales=quantized.scales[rows], codes=codes)


def exact_scales(quantized: QuantizedWeight, name: str) -> Array:
    """The scales. Raises `UserError` if float16 cannot hold them exactly."""
    with np.errstate(over="ignore"):  # infinity is not exact
        exact = np.array_equal(quantized.scales.astype(np.float16), quantized.scales)
    if not exact:
        raise UserError(f"{name}: its scales are not exact in float16; {AGAIN}")
    return quantized.scales


def _format(quantized: QuantizedWeight, name: str) -> Format:
    form = quantized.form.name
    if form == "fp8":
        raise UserError(f"{name}: the native engine has no fp8; {AGAIN}")
    return form


def _in_time_order(weight: Array) -> Array:
    """(outputs, channels) or (outputs, channels, taps) -> (outputs, taps, channels)."""
    return weight[:, None] if weight.ndim == 2 else weight.transpose(0, 2, 1)
