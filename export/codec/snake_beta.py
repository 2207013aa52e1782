"""SnakeBeta, the codec's activation, plain or alias-free, as graph nodes.

In: feature maps (rows, C, 1, T) and a `CodecCheckpoint`. Out: feature maps. Nothing is padded here:
the caller provides the samples beyond the ends of a signal. BigVGAN (arXiv 2206.04658) describes
the activation. Names of weights are those of the published FACodec (arXiv 2403.03100).
"""

from __future__ import annotations

import numpy as np

from export.codec.alias_free_plugin import alias_free_node
from export.graph.model_graph import ModelGraph
from export.graph.writer import Value
from export.readers.codec_checkpoint import CodecCheckpoint
from formats.checkpoint.codec_config import FILTER_TAPS
from formats.weights import Array, as_weight

NO_DIVISION_BY_ZERO = 1e-9  # added to e^beta, as published
PHASE_TAPS = FILTER_TAPS // 2
BEFORE_EVEN, AFTER_EVEN = 3, 2  # even sample t depends on these samples of x around t
BEFORE_ODD, AFTER_ODD = 2, 3
REACH = 5  # alias-free output t depends on these samples of x on each side of t


class SnakeBeta:
    """The activation `name`: x + sin²(x · e^alpha) / (e^beta + 1e-9).

    The alias-free one works at twice the rate, as two phases at the rate of x. Even and odd samples
    of the doubled rate do not depend on each other. So each phase is one depthwise convolution of
    x, and the output is the sum of a convolution of each phase. The filters hold the factors of
    channels: with w = e^alpha · up(x) and g = 1 / (e^beta + 1e-9), the output is
    g · down(sin²(w) + w / (g · e^alpha)).
    """

    def __init__(self, graph: ModelGraph, codec: CodecCheckpoint, name: str) -> None:
        self._graph, self._codec, self._name = graph, codec, name
        alpha, beta = (
            np.exp(codec.weight(f"{name}.act.{which}").read().astype(np.float64))
            for which in ("alpha", "beta")
        )
        self.channels = len(alpha)
        shape = (1, -1, 1, 1)
        self._frequency = alpha.reshape(shape)
        self._gain = 1.0 / (beta.reshape(shape) + NO_DIVISION_BY_ZERO)

    def plain(self, x: Value) -> Value:
        """The activation of each sample; 0 stays 0."""
        op = self._graph.op
        sine = op.Sin(op.Mul(x, self._weight("alpha", self._frequency)))
        return op.Add(x, op.Mul(op.Mul(sine, sine), self._weight("gain", self._gain)))

    def even(self, x: Value) -> Value:
        """The activation's even samples at the doubled rate, `PHASE_TAPS` - 1 fewer than x has.

        Sample t depends on x[t - 3] … x[t + 2].
        """
        return self._bend(self._filter(x, "up.even", self._up()[::-2], self._frequency))

    def odd(self, x: Value) -> Value:
        """The activation's odd samples. Sample t depends on x[t - 2] … x[t + 3]."""
        return self._bend(self._filter(x, "up.odd", self._up()[-2::-2], self._frequency))

    def down(self, even: Value, odd: Value) -> Value:
        """The output, `PHASE_TAPS` - 1 samples fewer than each phase has.

        Sample t depends on even[t - 2] … even[t + 3] and odd[t - 3] … odd[t + 2].
        """
        taps = self._taps("downsample.lowpass.filter")
        even = self._filter(even, "down.even", taps[1::2], self._gain)
        odd = self._filter(odd, "down.odd", taps[0::2], self._gain)
        return self._graph.op.Add(even, odd)

    def node(self, window: Value, ends: Value) -> Value:
        """The alias-free activation as a single node (`export.codec.alias_free_plugin`)."""
        up, down = (
            self._weight(f"{name}.taps", self._taps(f"{name}.filter"))
            for name in ("upsample", "downsample.lowpass")
        )
        frequency = self._weight("frequency", self._frequency.reshape(-1))
        gain = self._weight("gain", self._gain.reshape(-1))
        return alias_free_node(self._graph, window, frequency, gain, up, down, ends)

    def _up(self) -> Array:
        return 2.0 * self._taps("upsample.filter")

    def _taps(self, name: str) -> Array:
        return self._codec.weight(f"{self._name}.{name}").read().reshape(-1)

    def _bend(self, w: Value) -> Value:
        op = self._graph.op
        slope = self._weight("slope", 1.0 / (self._gain * self._frequency))
        sine = op.Sin(w)
        return op.Add(op.Mul(sine, sine), op.Mul(w, slope))

    def _weight(self, name: str, values: Array) -> Value:
        return self._graph.weight(as_weight(f"{self._name}.{name}", values))

    def _filter(self, x: Value, name: str, taps: Array, gain: Array) -> Value:
        """The same filter for every channel, times a gain (1, C, 1, 1) of its own."""
        kernel = gain.reshape(self.channels, 1, 1, 1) * taps  # (C, 1, 1, taps)
        weight = self._weight(name, kernel)
        return self._graph.op.Conv(x, weight, group=self.channels, kernel_shape=[1, len(taps)])
