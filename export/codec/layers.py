"""Layers of the codec on whole signals, written for speed on a CPU.

In: feature maps (1, C, 1, T) and a `CodecCheckpoint`. Out: feature maps. `export.codec.stream` has
the layers of signals that come in chunks. Feature maps are two-dimensional with height 1, because
engines have fast kernels, depthwise ones above all, only for two-dimensional convolutions. All
operators are standard ones, so graphs are the same in every dialect. Names of weights are those of
the published FACodec (NaturalSpeech 3, arXiv 2403.03100).
"""

from __future__ import annotations

from dataclasses import dataclass

from export.codec.snake_beta import AFTER_EVEN, AFTER_ODD, BEFORE_EVEN, BEFORE_ODD, SnakeBeta
from export.graph.model_graph import ModelGraph
from export.graph.writer import Value
from export.quantization.convolutions import ALL_FLOATS, ConvolutionFormats
from export.readers.codec_checkpoint import CodecCheckpoint
from formats.checkpoint.codec_config import RESIDUAL_DILATIONS
from formats.weights import Weight

LAYER_NORM_EPSILON = 1e-5
TIME = 3  # axis of a feature map
END = 2**31 - 1  # of a slice: up to the last


@dataclass(frozen=True)
class CodecLayers:
    """Builds layers into `graph` with the weights of `codec`.

    formats: of convolutions; everything else is computed in float32.
    """

    graph: ModelGraph
    codec: CodecCheckpoint
    formats: ConvolutionFormats = ALL_FLOATS

    def convolution(
        self, x: Value, name: str, *, dilation: int = 1, stride: int = 1, padding: int | None = None
    ) -> Value:
        """Zero-padded convolution; by default the length stays (odd kernel, stride 1)."""
        weight = self.codec.weight(f"{name}.weight")  # (out, in, taps)
        taps = weight.shape[2]
        if padding is None:
            padding = (taps - 1) * dilation // 2
        return self.convolve(
            x, weight, self.codec.weight(f"{name}.bias"), (padding, padding), dilation, stride
        )

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
        """SnakeBeta, alias-free if the codec is."""
        with self.graph.scope(name):
            snake = SnakeBeta(self.graph, self.codec, name)
            if self.codec.config.activation == "snake":
                return snake.plain(x)
            return self._alias_free(snake, x)

    def _alias_free(self, snake: SnakeBeta, x: Value) -> Value:
        """Beyond its ends, x repeats its first and last sample, and so does the doubled signal."""
        op = self.graph.op
        even = snake.even(self._replicate(x, BEFORE_EVEN, AFTER_EVEN))
        odd = snake.odd(self._replicate(x, BEFORE_ODD, AFTER_ODD))
        first = op.Slice(even, [0], [1], [TIME])  # the doubled signal's two ends
        last = op.Slice(odd, [-1], [END], [TIME])
        even = op.Concat(first, first, even, last, last, last, axis=TIME)
        odd = op.Concat(first, first, first, odd, last, last, axis=TIME)
        return snake.down(even, odd)

    def _replicate(self, x: Value, before: int, after: int) -> Value:
        return self.graph.op.Pad(x, [0, 0, 0, before, 0, 0, 0, after], mode="edge")

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

    def convolve(
        self,
        x: Value,
        weight: Weight,
        bias: Weight,
        padding: tuple[int, int],
        dilation: int = 1,
        stride: int = 1,
    ) -> Value:
        """x (1, in, 1, T) with weight (out, in, taps), `padding` zeros on each side."""
        outputs, inputs, taps = weight.shape
        kernel = weight.reshaped(outputs, inputs, 1, taps)
        self.graph.products[weight.name] = weight.shape
        operands = self.formats.of(weight).operands(self.graph, x, kernel)
        return self.graph.op.Conv(
            *operands,
            self.graph.weight(bias),
            kernel_shape=[1, taps],
            pads=[0, padding[0], 0, padding[1]],
            dilations=[1, dilation],
            strides=[1, stride],
        )
