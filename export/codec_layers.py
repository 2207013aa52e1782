"""Layers that the codec's decoder and encoder share, written for speed on a CPU.

In: feature maps (1, C, 1, T) and a `CodecCheckpoint`. Out: the same, as graph nodes. A feature
map is two-dimensional with height 1 because engines have fast kernels, depthwise ones above
all, for two-dimensional convolutions only. Standard operators, so the same in every dialect.
Names of weights are those of the published FACodec (NaturalSpeech 3, arXiv 2403.03100).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.codec_checkpoint import CodecCheckpoint
from export.graph import Graph, Value
from export.weights import Array, Weight, as_weight
from train.codec_config import RESIDUAL_DILATIONS

NO_DIVISION_BY_ZERO = 1e-9  # added to e^beta, as published
LAYER_NORM_EPSILON = 1e-5
_TIME = 3  # axis of a feature map
_END = 2**31 - 1  # of a slice: up to the last


@dataclass(frozen=True)
class CodecLayers:
    """Builds layers into `graph` with the weights of `codec`."""

    graph: Graph
    codec: CodecCheckpoint

    def convolution(
        self, x: Value, name: str, *, dilation: int = 1, stride: int = 1, padding: int | None = None
    ) -> Value:
        """Zero-padded convolution; by default the length stays (odd kernel, stride 1)."""
        weight = self.codec.weight(f"{name}.weight")  # (out, in, taps)
        taps = weight.shape[2]
        if padding is None:
            padding = (taps - 1) * dilation // 2
        return self._convolve(
            x, weight, self.codec.weight(f"{name}.bias"), (padding, padding), dilation, stride
        )

    def upsampling(self, x: Value, name: str, ratio: int) -> Value:
        """Transposed convolution with 2·ratio taps, stride `ratio`, length times `ratio`.

        Output q·ratio + r is x[q] · W[r] + x[q-1] · W[r + ratio]: a convolution with two taps
        and `ratio` times as many channels, whose channels are then laid side by side in time.
        """
        weight = self.codec.weight(f"{name}.weight")  # (in, out, 2·ratio)
        channels = weight.shape[1]
        phases = Weight(
            f"{weight.name}.phases",
            (channels * ratio, weight.shape[0], 2),
            lambda: _phase_weights(weight.read(), ratio),
        )
        bias = self.codec.weight(f"{name}.bias")
        repeated = Weight(
            f"{bias.name}.phases", (channels * ratio,), lambda: np.repeat(bias.read(), ratio)
        )
        op = self.graph.op
        x = self._convolve(x, phases, repeated, (1, 1))  # (1, C·ratio, 1, T + 1)
        x = op.Transpose(op.Reshape(x, [1, channels, ratio, -1]), perm=[0, 1, 3, 2])
        x = op.Reshape(x, [1, channels, 1, -1])  # (1, C, 1, (T + 1)·ratio)
        padding = ratio // 2 + ratio % 2
        return op.Slice(x, [padding], [padding - ratio], [_TIME])

    def residual_units(self, x: Value, name: str, first: int) -> Value:
        """Three residual units, the modules `name`.`first` and following."""
        for index, dilation in enumerate(RESIDUAL_DILATIONS, start=first):
            x = self.residual_unit(x, f"{name}.{index}", dilation)
        return x

    def residual_unit(self, x: Value, name: str, dilation: int) -> Value:
        """x + conv1(act(conv7(act(x))))."""
        with self.graph.scope(name):
            y = self.activation(x, f"{name}.block.0")
            y = self.convolution(y, f"{name}.block.1", dilation=dilation)
            y = self.activation(y, f"{name}.block.2")
            y = self.convolution(y, f"{name}.block.3")
            return self.graph.op.Add(x, y)

    def activation(self, x: Value, name: str) -> Value:
        """SnakeBeta, x + sin²(x · e^alpha) / (e^beta + 1e-9), alias-free if the codec is."""
        with self.graph.scope(name):
            if self.codec.config.activation == "snake":
                return self._snake(x, name)
            return self._alias_free_snake(x, name)

    def _snake(self, x: Value, name: str) -> Value:
        op, graph = self.graph.op, self.graph
        alpha, beta = self._snake_parameters(name)
        sine = op.Sin(op.Mul(x, graph.weight(as_weight(f"{name}.alpha", alpha))))
        gain = graph.weight(as_weight(f"{name}.gain", 1.0 / beta))
        return op.Add(x, op.Mul(op.Mul(sine, sine), gain))

    def _alias_free_snake(self, x: Value, name: str) -> Value:
        """Upsample ×2, SnakeBeta, low-pass and downsample ×2, as two phases at the rate of x.

        Even and odd samples of the doubled rate never meet: each phase is one depthwise
        convolution of x, and the output is the sum of one of each phase. The per-channel
        factors live in the filters: with w = e^alpha · up(x) and b = e^beta + 1e-9,
        the output is down(sin²(w) + w · b / e^alpha) / b.
        """
        op = self.graph.op
        alpha, beta = self._snake_parameters(name)
        up = 2.0 * self.codec.weight(f"{name}.upsample.filter").read().reshape(-1)
        down = self.codec.weight(f"{name}.downsample.lowpass.filter").read().reshape(-1)
        even = self._filter(self._replicate(x, 3, 2), f"{name}.up.even", up[::-2], alpha)
        odd = self._filter(self._replicate(x, 2, 3), f"{name}.up.odd", up[-2::-2], alpha)
        first = op.Slice(even, [0], [1], [_TIME])  # the doubled signal's two ends
        last = op.Slice(odd, [-1], [_END], [_TIME])
        slope = self.graph.weight(as_weight(f"{name}.slope", beta / alpha))
        even = op.Concat(first, first, even, last, last, last, axis=_TIME)
        odd = op.Concat(first, first, first, odd, last, last, axis=_TIME)
        even = self._filter(self._bend(even, slope), f"{name}.down.even", down[1::2], 1.0 / beta)
        odd = self._filter(self._bend(odd, slope), f"{name}.down.odd", down[0::2], 1.0 / beta)
        return op.Add(even, odd)

    def _bend(self, w: Value, slope: Value) -> Value:
        op = self.graph.op
        sine = op.Sin(w)
        return op.Add(op.Mul(sine, sine), op.Mul(w, slope))

    def _replicate(self, x: Value, before: int, after: int) -> Value:
        return self.graph.op.Pad(x, [0, 0, 0, before, 0, 0, 0, after], mode="edge")

    def _filter(self, x: Value, name: str, taps: Array, gain: Array) -> Value:
        """The same filter for every channel, times a gain (1, C, 1, 1) of its own."""
        channels = gain.shape[1]
        kernel = gain.reshape(channels, 1, 1, 1) * taps  # (C, 1, 1, taps)
        weight = self.graph.weight(as_weight(name, kernel))
        return self.graph.op.Conv(x, weight, group=channels, kernel_shape=[1, len(taps)])

    def _snake_parameters(self, name: str) -> tuple[Array, Array]:
        """e^alpha and e^beta + 1e-9, each float64 (1, C, 1, 1)."""
        alpha, beta = (
            np.exp(self.codec.weight(f"{name}.act.{which}").read().astype(np.float64))
            for which in ("alpha", "beta")
        )
        shape = (1, -1, 1, 1)
        return alpha.reshape(shape), beta.reshape(shape) + NO_DIVISION_BY_ZERO

    # Layers on frames (1, T, C).

    def frame_linear(self, x: Value, name: str) -> Value:
        """Linear layer over channels."""
        weights = self.codec.weight(f"{name}.weight"), self.codec.weight(f"{name}.bias")
        return self.graph.linear(x, *weights)

    def frame_norm(self, x: Value, name: str) -> Value:
        """LayerNorm over channels."""
        weights = self.codec.weight(f"{name}.weight"), self.codec.weight(f"{name}.bias")
        return self.graph.layer_norm(x, *weights, LAYER_NORM_EPSILON)

    def frame_convolution(self, x: Value, name: str) -> Value:
        """Convolution over time that keeps the number of frames."""
        return self.as_frames(self.convolution(self.as_map(x), name))

    def as_map(self, x: Value) -> Value:
        """Frames (1, T, C) -> feature map (1, C, 1, T)."""
        return self.graph.op.Unsqueeze(self.graph.op.Transpose(x, perm=[0, 2, 1]), [2])

    def as_frames(self, x: Value) -> Value:
        """Feature map (1, C, 1, T) -> frames (1, T, C)."""
        return self.graph.op.Transpose(self.graph.op.Squeeze(x, [2]), perm=[0, 2, 1])

    def _convolve(
        self,
        x: Value,
        weight: Weight,
        bias: Weight,
        padding: tuple[int, int],
        dilation: int = 1,
        stride: int = 1,
    ) -> Value:
        outputs, inputs, taps = weight.shape
        return self.graph.op.Conv(
            x,
            self.graph.weight(weight.reshaped(outputs, inputs, 1, taps)),
            self.graph.weight(bias),
            kernel_shape=[1, taps],
            pads=[0, padding[0], 0, padding[1]],
            dilations=[1, dilation],
            strides=[1, stride],
        )


def _phase_weights(weight: Array, ratio: int) -> Array:
    """(in, out, 2·ratio) -> (out·ratio, in, 2): taps on x[q-1] and x[q]."""
    inputs, outputs, _ = weight.shape
    phases = weight.reshape(inputs, outputs, 2, ratio)[:, :, ::-1]  # newest tap last
    return np.ascontiguousarray(phases.transpose(1, 3, 0, 2)).reshape(outputs * ratio, inputs, 2)
