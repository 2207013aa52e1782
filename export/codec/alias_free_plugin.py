"""The alias-free SnakeBeta as one node, for engines that have a kernel for it.

In: a window of a feature map (rows, C, 1, T + 10), the channels' frequencies and gains, the
filters, and where in the window each row's signal begins and ends. Out: (rows, C, 1, T). The node
is `slm_deploy::AliasFreeSnakeBeta`; native/alias_free_snake/plugin.cpp is its TensorRT plugin. Its
only attribute, `plugin_namespace`, makes TensorRT's parser prefer a loaded plugin to the
definition. `DEFINITION` says in standard operators what a node computes. Every graph with such
nodes holds it, so that engines without the plugin, such as ONNX Runtime in the export's checks,
compute the same.

    window      float (rows, C, 1, T + 10)  five samples more than the output, on each side
    frequency   float (C)                   e^alpha
    gain        float (C)                   1 / (e^beta + 1e-9)
    up, down    float (12)                  filters as the checkpoint has them
    ends        int64 (rows, 2)             which of the window's samples are the signal's first
                                            and last; both may lie outside of it
"""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir

from export.graph.model_graph import ModelGraph
from export.graph.writer import Value

DOMAIN = "slm_deploy"
NAME = "AliasFreeSnakeBeta"
VERSION = 1

# The same as in train/codec_model/alias_free.py. The output needs samples 5 ... 2 (T + 10) - 6 of
# the window at the doubled rate. Before a filter, each channel of each row becomes a batch item, so
# that one filter serves all of them.
DEFINITION = """
<domain: "slm_deploy", opset_import: ["" : 24]>
AliasFreeSnakeBeta <plugin_namespace> (window, frequency, gain, up, down, ends) => (output)
{
    none = Constant <value_ints = [0]> ()
    zero = Constant <value_int = 0> ()
    one = Constant <value_int = 1> ()
    one_axis = Constant <value_ints = [1]> ()
    rest = Constant <value_ints = [-1]> ()
    inner_axes = Constant <value_ints = [1, 2]> ()
    two = Constant <value_int = 2> ()
    five = Constant <value_int = 5> ()
    per_channel = Constant <value_ints = [1, -1, 1, 1]> ()
    one_filter = Constant <value_ints = [1, 1, 1, 12]> ()
    channels = Shape (frequency)
    to_channels = Concat <axis = 0> (one_axis, channels, one_axis, one_axis)
    rows_and_channels = Shape <start = 0, end = 3> (window)
    by_row = Concat <axis = 0> (rows_and_channels, rest)

    length = Shape <start = 3, end = 4> (window)
    samples = Squeeze (length, none)
    newest = Sub (samples, one)
    not_before = Max (ends, zero)
    held_ends = Min (not_before, newest)
    first, last = Split <num_outputs = 2, axis = 1> (held_ends)

    minus_five = Neg (five)
    behind = Add (samples, five)
    cells = Range (minus_five, behind, one)
    cells_from_first = Max (cells, first)
    held_cells = Min (cells_from_first, last)
    cells_of_row = Unsqueeze (held_cells, inner_axes)
    all_cells = Expand (cells_of_row, to_channels)
    signal = GatherElements <axis = 3> (window, all_cells)
    flat_signal = Flatten <axis = 3> (signal)
    batch = Unsqueeze (flat_signal, inner_axes)
    up_filter = Reshape (up, one_filter)
    up_and_ends = ConvTranspose <strides = [1, 2], pads = [0, 15, 0, 15]> (batch, up_filter)
    twice_as_many = Add (up_and_ends, up_and_ends)
    doubled_window = Reshape (twice_as_many, by_row)

    doubled_samples = Mul (samples, two)
    position_end = Sub (doubled_samples, five)
    positions = Range (five, position_end, one)
    first_position = Mul (first, two)
    last_even = Mul (last, two)
    last_position = Add (last_even, one)
    positions_from_first = Max (positions, first_position)
    held_positions = Min (positions_from_first, last_position)
    positions_of_row = Unsqueeze (held_positions, inner_axes)
    all_positions = Expand (positions_of_row, to_channels)
    doubled = GatherElements <axis = 3> (doubled_window, all_positions)

    frequencies = Reshape (frequency, per_channel)
    gains = Reshape (gain, per_channel)
    angle = Mul (doubled, frequencies)
    sine = Sin (angle)
    square = Mul (sine, sine)
    bend = Mul (square, gains)
    bent = Add (doubled, bend)

    flat_bent = Flatten <axis = 3> (bent)
    bent_batch = Unsqueeze (flat_bent, inner_axes)
    down_filter = Reshape (down, one_filter)
    filtered = Conv <strides = [1, 2]> (bent_batch, down_filter)
    output = Reshape (filtered, by_row)
}
"""


def alias_free_node(
    graph: ModelGraph,
    window: Value,
    frequency: Value,
    gain: Value,
    up: Value,
    down: Value,
    ends: Value,
) -> Value:
    """Add a node, and its definition if it is the graph's first; see above."""
    function = ir.serde.deserialize_function(onnx.parser.parse_function(DEFINITION))
    op = graph.define(function, VERSION)
    output = op.AliasFreeSnakeBeta(
        window, frequency, gain, up, down, ends, plugin_namespace=DOMAIN, _outputs=1
    )
    output.dtype = window.dtype
    return output
