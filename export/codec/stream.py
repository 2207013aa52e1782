"""Layers of the codec on signals that come in chunks, exactly as on the whole signal.

In: chunks of feature maps, and states (rows, C, 1, samples): the last samples of the chunk before.
Out: chunks of the same length, and new states. A layer that looks ahead delays its signal by as
much, which `Signal.delay` counts. Nothing is computed twice, except for a few samples inside
alias-free activations. All shapes follow from the numbers of rows and of the chunk's frames.

A whole signal has ends. Layers with different delays reach them in different calls, and rows are at
different places of their utterances. Before every convolution, samples outside a row's utterance
are therefore set to zero, which is the padding of the whole signal. Alias-free activations repeat
the utterance's first and last sample there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.codec.layers import END, TIME, CodecLayers
from export.codec.snake_beta import AFTER_EVEN, AFTER_ODD, BEFORE_EVEN, BEFORE_ODD, REACH, SnakeBeta
from export.graph.model_graph import ModelGraph
from export.graph.ort_graph import OrtGraph
from export.graph.writer import Value
from formats.checkpoint.codec_config import RESIDUAL_DILATIONS
from formats.weights import Array, Weight
from runtime.bundle.names import PAST_CONTEXT, PRESENT_CONTEXT, ROWS


@dataclass(frozen=True)
class Signal:
    """A chunk of a signal with `rate` samples a frame: value (rows, channels, 1, frames · rate).

    It comes `delay` samples late: sample i of the chunk is sample past_frames · rate - delay + i
    of the utterance. Samples before the utterance's first and after its last have no meaning.
    """

    value: Value
    channels: int
    rate: int
    delay: int


class StreamLayers:
    """Builds layers with state into the graph of `layers`.

    past_frames, utterance_frames: int64 (rows), see `runtime.bundle`. frames: int64 (1), of this
    call. activation: alias-free ones as "operators", or each as one node, a "plugin" in TensorRT.
    """

    def __init__(
        self,
        layers: CodecLayers,
        past_frames: Value,
        utterance_frames: Value,
        frames: Value,
        activation: str = "operators",
    ) -> None:
        op = layers.graph.op
        self._activation = activation
        self._layers, self._graph, self._frames = layers, layers.graph, frames
        first, behind_last = op.Neg(past_frames), op.Sub(utterance_frames, past_frames)
        self._ends = op.Concat(  # (rows, 1, 1, 2), in frames of this call
            *(op.Unsqueeze(end, [1, 2, 3]) for end in (first, behind_last)), axis=TIME
        )
        self._ends_at: dict[int, Value] = {}
        self._indices_at: dict[int, Value] = {}
        self._contexts = 0

    def convolution(self, x: Signal, name: str, dilation: int = 1) -> Signal:
        """Zero-padded convolution with an odd number of taps, which keeps the length."""
        weight, bias = (self._layers.codec.weight(f"{name}.{kind}") for kind in ("weight", "bias"))
        channels, _, taps = weight.shape
        reach = (taps - 1) * dilation
        value = self._with_context(self._inside(x), reach) if reach else x.value
        value = self._layers.convolve(value, weight, bias, (0, 0), dilation)
        return Signal(value, channels, x.rate, x.delay + reach // 2)

    def upsampling(self, x: Signal, name: str, ratio: int) -> Signal:
        """Transposed convolution with 2·ratio taps and stride `ratio`.

        Output q·ratio + r is x[q] · W[r] + x[q-1] · W[r + ratio]: a convolution with two taps
        and `ratio` times as many channels, whose channels are then laid side by side in time.
        The layer cuts off ratio // 2 + ratio % 2 samples at the start; here they are delay.
        """
        weight, bias = (self._layers.codec.weight(f"{name}.{kind}") for kind in ("weight", "bias"))
        _, channels, _ = weight.shape
        value = self._with_context(self._inside(x), 1)
        value = self._layers.convolve(value, *phases(weight, bias, ratio), (0, 0))
        op = self._graph.op
        value = op.Transpose(op.Reshape(value, [0, channels, ratio, -1]), perm=[0, 1, 3, 2])
        value = op.Reshape(value, [0, channels, 1, -1])
        delay = x.delay * ratio + ratio // 2 + ratio % 2
        return Signal(value, channels, x.rate * ratio, delay)

    def residual_units(self, x: Signal, name: str, first: int) -> Signal:
        """Three residual units, the modules `name`.`first` and following."""
        for index, dilation in enumerate(RESIDUAL_DILATIONS, start=first):
            x = self.residual_unit(x, f"{name}.{index}", dilation)
        return x

    def residual_unit(self, x: Signal, name: str, dilation: int) -> Signal:
        """x + conv1(act(conv7(act(x)))), with x delayed as much as the other operand."""
        with self._graph.scope(name):
            y = self.activation(x, f"{name}.block.0")
            y = self.convolution(y, f"{name}.block.1", dilation)
            y = self.activation(y, f"{name}.block.2")
            y = self.convolution(y, f"{name}.block.3")
            x = self.delayed(x, y.delay - x.delay)
            return Signal(self._graph.op.Add(x.value, y.value), x.channels, x.rate, x.delay)

    def activation(self, x: Signal, name: str) -> Signal:
        """SnakeBeta, alias-free if the codec is."""
        with self._graph.scope(name):
            snake = SnakeBeta(self._graph, self._layers.codec, name)
            if self._layers.codec.config.activation == "snake":
                return Signal(snake.plain(x.value), x.channels, x.rate, x.delay)
            return self._alias_free(snake, x)

    def tanh(self, x: Signal) -> Signal:
        return Signal(self._graph.op.Tanh(x.value), x.channels, x.rate, x.delay)

    def delayed(self, x: Signal, samples: int) -> Signal:
        """The same signal, `samples` later."""
        if not samples:
            return x
        value = self._graph.op.Slice(self._with_context(x, samples), [0], [-samples], [TIME])
        return Signal(value, x.channels, x.rate, x.delay + samples)

    def _alias_free(self, snake: SnakeBeta, x: Signal) -> Signal:
        """The activation of x with twice `REACH` earlier samples.

        The doubled signal's first sample belongs to the even phase, its last one to the odd phase.
        """
        context, delay = self._with_context(x, 2 * REACH), x.delay + 2 * REACH
        if self._activation == "plugin":
            op = self._graph.op
            ends = op.Squeeze(op.Add(self._find_ends(x.rate), [delay]), [1, 2])
            return Signal(snake.node(context, ends), x.channels, x.rate, x.delay + REACH)
        window = self._ended(context, x.rate, delay)
        signal = window.surrounded(x.channels, REACH, REACH)
        delay = x.delay + REACH
        even = self._ended(snake.even(signal), x.rate, delay + BEFORE_ODD)
        odd = self._ended(snake.odd(signal), x.rate, delay + BEFORE_EVEN)
        value = snake.down(
            even.surrounded(x.channels, BEFORE_ODD, AFTER_ODD, last=odd.last(x.channels)),
            odd.surrounded(x.channels, BEFORE_EVEN, AFTER_EVEN, first=even.first(x.channels)),
        )
        return Signal(value, x.channels, x.rate, delay)

    def _with_context(self, x: Signal, samples: int) -> Value:
        """x after the last `samples` samples of the call before. The state keeps x's last ones."""
        op, index = self._graph.op, self._contexts
        self._contexts += 1
        shape = (ROWS, x.channels, 1, samples)
        past, present = PAST_CONTEXT.format(index=index), PRESENT_CONTEXT.format(index=index)
        # One buffer is enough if operators run in order, because it is read before it is written.
        in_place = self._graph.dialect == OrtGraph.dialect
        context = self._graph.state(past, present, "float32", shape, in_place=in_place)
        joined = op.Concat(context, x.value, axis=TIME)
        newest = op.Slice(joined, [-samples], [END], [TIME])
        # TensorRT does not see the size of such a slice.
        newest = op.Reshape(newest, [-1, x.channels, 1, samples])
        self._graph.output(present, newest, "float32", shape)
        return joined

    def _inside(self, x: Signal) -> Signal:
        """x with zeros outside the utterance."""
        op = self._graph.op
        first, last = op.Split(
            op.Add(self._find_ends(x.rate), [x.delay]), num_outputs=2, axis=TIME, _outputs=2
        )
        index = self._indices(x.rate)
        inside = op.And(op.GreaterOrEqual(index, first), op.LessOrEqual(index, last))
        value = op.Mul(x.value, op.Cast(inside, to=ir.DataType.FLOAT))
        return Signal(value, x.channels, x.rate, x.delay)

    def _find_ends(self, rate: int) -> Value:
        """Where in a chunk without delay the utterance's first and last sample are.

        Returns int64 (rows, 1, 1, 2). Both may lie outside the chunk.
        """
        if rate not in self._ends_at:
            op = self._graph.op
            self._ends_at[rate] = op.Add(op.Mul(self._ends, [rate]), [0, -1])
        return self._ends_at[rate]

    def _indices(self, rate: int) -> Value:
        """0 … frames · rate - 1."""
        if rate not in self._indices_at:
            op = self._graph.op
            count = op.Squeeze(op.Mul(self._frames, [rate]), [0])
            self._indices_at[rate] = op.Range(0, count, 1)
        return self._indices_at[rate]

    def _ended(self, value: Value, rate: int, delay: int) -> _EndedMap:
        op = self._graph.op
        newest = op.Sub(op.Shape(value, start=TIME, end=TIME + 1), [1])
        ends = op.Min(op.Max(op.Add(self._find_ends(rate), [delay]), [0]), newest)
        return _EndedMap(self._graph, value, ends, newest)


class _EndedMap:
    """A feature map, and where in it each row's utterance has its first and last sample.

    An end outside the map counts as the map's own first or last sample. That side of the map then
    lies entirely inside the utterance, or entirely outside, where values have no meaning.
    """

    def __init__(self, graph: ModelGraph, value: Value, ends: Value, newest: Value) -> None:
        op = graph.op
        self._op, self._value, self._newest = op, value, newest
        self._ends = ends
        self._first, self._last = op.Split(ends, num_outputs=2, axis=TIME, _outputs=2)

    def first(self, channels: int) -> Value:
        """The utterance's first sample, (rows, C, 1, 1)."""
        return self._gather(self._first, channels, 1)

    def last(self, channels: int) -> Value:
        """The utterance's last sample, (rows, C, 1, 1)."""
        return self._gather(self._last, channels, 1)

    def surrounded(
        self,
        channels: int,
        before: int,
        after: int,
        first: Value | None = None,
        last: Value | None = None,
    ) -> Value:
        """The map with `before` samples before the utterance replaced by `first`, and `after`
        samples after it by `last`. The defaults are its own first and last sample."""
        op = self._op
        side = np.repeat([0, 1], [before, after])
        offset = np.concatenate([np.arange(-before, 0), np.arange(1, after + 1)])
        cells = op.Add(op.Gather(self._ends, side.tolist(), axis=TIME), offset.tolist())
        cells = op.Min(op.Max(cells, [0]), self._newest)  # (rows, 1, 1, before + after)
        source = op.Min(op.Max(cells, self._first), self._last)
        values = self._gather(source, channels, before + after)
        if first is not None:
            values = op.Where(op.Less(cells, self._first), first, values)
        if last is not None:
            values = op.Where(op.Greater(cells, self._last), last, values)
        cells = op.Expand(cells, [1, channels, 1, before + after])
        return op.ScatterElements(self._value, cells, values, axis=TIME)

    def _gather(self, cells: Value, channels: int, count: int) -> Value:
        """Samples of all channels at cells (rows, 1, 1, count)."""
        cells = self._op.Expand(cells, [1, channels, 1, count])
        return self._op.GatherElements(self._value, cells, axis=TIME)


def phases(weight: Weight, bias: Weight, ratio: int) -> tuple[Weight, Weight]:
    """A transposed convolution (in, out, 2·ratio) as one: weight (out·ratio, in, 2) and bias.

    Output c·ratio + r is sample r of channel c.
    """
    inputs, channels, _ = weight.shape
    phases = Weight(
        f"{weight.name}.phases",
        (channels * ratio, inputs, 2),
        lambda: _phase_weights(weight.read(), ratio),
    )
    repeated = Weight(
        f"{bias.name}.phases", (channels * ratio,), lambda: np.repeat(bias.read(), ratio)
    )
    return phases, repeated


def _phase_weights(weight: Array, ratio: int) -> Array:
    """(in, out, 2·ratio) -> (out·ratio, in, 2): taps on x[q-1] and x[q]."""
    inputs, outputs, _ = weight.shape
    phases = weight.reshape(inputs, outputs, 2, ratio)[:, :, ::-1]  # newest tap last
    return np.ascontiguousarray(phases.transpose(1, 3, 0, 2)).reshape(outputs * ratio, inputs, 2)
