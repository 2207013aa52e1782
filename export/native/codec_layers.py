"""What the codec's decoder and encoder are made of, packed.

In: a `CodecCheckpoint` and names of its modules. Out: matrices and tensors under given names. All
is float32, but convolutions can have other formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from export.codec.snake_beta import NO_DIVISION_BY_ZERO
from export.codec.stream import phases
from export.native.layout import Format
from export.native.matrix import Matrix, float_matrix, quantized_convolution
from export.native.weight_file import Tensor, float_tensor
from export.native.widths import filled_tensor
from export.readers.codec_checkpoint import CodecCheckpoint
from formats.calibration.quantized_weight import QuantizedWeight
from formats.checkpoint.codec_config import RESIDUAL_DILATIONS
from formats.weights import Array, Weight, as_weight

Parts = Iterator[Matrix | Tensor]


def affine(codec: CodecCheckpoint, module: str) -> tuple[Weight, Weight]:
    """(weight, bias) of a module, convolution or linear."""
    return codec.weight(f"{module}.weight"), codec.weight(f"{module}.bias")


def matrix(codec: CodecCheckpoint, name: str, module: str) -> Matrix:
    """A convolution or a linear layer."""
    return float_matrix(name, "fp32", *affine(codec, module))


def norm(codec: CodecCheckpoint, name: str, module: str) -> Iterator[Tensor]:
    """A LayerNorm: `NAME.weight` and `NAME.bias`."""
    for kind, weight in zip(("weight", "bias"), affine(codec, module), strict=True):
        yield filled_tensor(f"{name}.{kind}", weight)


class Activations:
    """SnakeBeta, plain or alias-free (`export.codec.snake_beta`)."""

    def __init__(self, codec: CodecCheckpoint) -> None:
        self._codec = codec

    def pack(self, name: str, module: str) -> Iterator[Tensor]:
        """`NAME.frequency` and `NAME.gain`, and the filters of an alias-free one."""
        alpha, beta = (
            np.exp(self._codec.vector(f"{module}.act.{which}").astype(np.float64))
            for which in ("alpha", "beta")
        )
        yield filled_tensor(f"{name}.frequency", as_weight("frequency", alpha))
        gain = 1.0 / (beta + NO_DIVISION_BY_ZERO)
        yield filled_tensor(f"{name}.gain", as_weight("gain", gain))
        if self._codec.config.activation == "alias_free":
            up = 2.0 * self._filter(f"{module}.upsample.filter")
            yield float_tensor(f"{name}.up", as_weight("up", up))
            down = self._filter(f"{module}.downsample.lowpass.filter")
            yield float_tensor(f"{name}.down", as_weight("down", down))

    def _filter(self, name: str) -> Array:
        return self._codec.vector(name).reshape(-1)


class Convolutions:
    """Convolutions. usual: format of those that `weights`, a calibration's, lacks.

    names: shapes of all that were asked for, by the names that calibrations have for them.
    """

    def __init__(
        self, codec: CodecCheckpoint, usual: Format, weights: Mapping[str, QuantizedWeight]
    ) -> None:
        self._codec, self._usual, self._weights = codec, usual, weights
        self.names: dict[str, tuple[int, ...]] = {}

    def plain(self, name: str, module: str) -> Matrix:
        """A convolution (out, in, taps)."""
        return self._make(name, *affine(self._codec, module), None)

    def upsampling(self, name: str, module: str, ratio: int) -> Matrix:
        """A transposed convolution as one of two taps: output r · channels + c is sample r of
        channel c. Calibrations have it with c · ratio + r."""
        weight, bias = phases(*affine(self._codec, module), ratio)
        order = np.arange(weight.shape[0]).reshape(-1, ratio).T.reshape(-1)
        return self._make(name, weight, bias, order)

    def _make(self, name: str, weight: Weight, bias: Weight, order: Array | None) -> Matrix:
        """order: which of the weight's outputs each output is; None if they are the same."""
        self.names[weight.name] = weight.shape
        picked = bias if order is None else _pick(bias, order)
        quantized = self._weights.get(weight.name)
        if quantized is not None:
            return quantized_convolution(name, quantized, weight, picked, order)
        weight = weight if order is None else _pick(weight, order)
        return float_matrix(name, self._usual, weight, picked)


def residual_units(
    convolutions: Convolutions, activations: Activations, name: str, module: str, first: int
) -> Parts:
    """`NAME.unit.0` … of the modules `module`.`first` and following: in each, two activations,
    each before a convolution."""
    for unit in range(len(RESIDUAL_DILATIONS)):
        own, block = f"{name}.unit.{unit}", f"{module}.{first + unit}.block"
        for number, (snake, convolution) in enumerate(((0, 1), (2, 3)), start=1):
            yield from activations.pack(f"{own}.snake_{number}", f"{block}.{snake}")
            yield convolutions.plain(f"{own}.conv_{number}", f"{block}.{convolution}")


def _pick(weight: Weight, rows: Array) -> Weight:
    return Weight(weight.name, weight.shape, lambda: weight.read()[rows])
