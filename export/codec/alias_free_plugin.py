"""The alias-free SnakeBeta as one node, for engines that have a kernel for it.

In: a window of a feature map (1, C, 1, T + 10), the channels' frequencies and gains, the filters,
and where in the window the signal begins and ends. Out: (1, C, 1, T). The node is
`slm_deploy::AliasFreeSnakeBeta`; native/alias_free_snake/plugin.cpp is its TensorRT plugin. The
one attribute, `plugin_namespace`, makes TensorRT's parser prefer a loaded plugin to the
definition. `DEFINITION` says in standard operators what a node computes: every graph with such
nodes carries it, so that an engine without the plugin (ONNX Runtime in the export's own checks)
computes the same.

    window      float (1, C, 1, T + 10)  five samples more than the output has, on each side
    frequency   float (C)                e^alpha
    gain        float (C)                1 / (e^beta + 1e-9)
    up, down    float (12)               filters as the checkpoint has them
    ends        int64 (2)                which of the window's samples are the signal's first and
                                         last; both may lie outside of it
"""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir

from export.graph.graph import Graph
from export.graph.writer import Value

DOMAIN = "slm_deploy"
NAME = "AliasFreeSnakeBeta"
VERSION = 1

# Sample by sample as in train/codec_model/alias_free.py; the samples of the doubled rate that the
# output needs are 5 ... 2 (T + 10) - 6 of the window's. Each channel is a batch item, so that one
# filter serves.
DEFINITION = """
<domain: "slm_deploy", opset_import: ["" : 24]>
AliasFreeSnakeBeta <plugin_namespace> (window, frequency, gain, up, down, ends) => (output)
{
    none = Constant <value_ints = [0]> ()
    zero = Constant <value_int = 0> ()
    one = Constant <value_int = 1> ()
    two = Constant <value_int = 2> ()
    five = Constant <value_int = 5> ()
    per_channel = Constant <value_ints = [-1, 1, 1, 1]> ()
    one_filter = Constant <value_ints = [1, 1, 1, 12]> ()

    length = Shape <start = 3, end = 4> (window)
    samples = Squeeze (length, none)
    newest = Sub (samples, one)
    not_before = Max (ends, zero)
    held_ends = Min (not_before, newest)
    first_end, last_end = Split <num_outputs = 2> (held_ends)
    first = Squeeze (first_end, none)
    last = Squeeze (last_end, none)

    minus_five = Neg (five)
    behind = Add (samples, five)
    cells = Range (minus_five, behind, one)
    cells_from_first = Max (cells, first)
    held_cells = Min (cells_from_first, last)
    signal = Gather <axis = 3> (window, held_cells)
    channels = Transpose <perm = [1, 0, 2, 3]> (signal)
    up_filter = Reshape (up, one_filter)
    up_and_ends = ConvTranspose <strides = [1, 2], pads = [0, 15, 0, 15]> (channels, up_filter)
    twice_as_many = Add (up_and_ends, up_and_ends)

    doubled_samples = Mul (samples, two)
    position_end = Sub (doubled_samples, five)
    positions = Range (five, position_end, one)
    first_position = Mul (first, two)
    last_even = Mul (last, two)
    last_position = Add (last_even, one)
    positions_from_first = Max (positions, first_position)
    held_positions = Min (positions_from_first, last_position)
    doubled = Gather <axis = 3> (twice_as_many, held_positions)

    frequencies = Reshape (frequency, per_channel)
    gains = Reshape (gain, per_channel)
    angle = Mul (doubled, frequencies)
    sine = Sin (angle)
    square = Mul (sine, sine)
    bend = Mul (square, gains)
    bent = Add (doubled, bend)

    down_filter = Reshape (down, one_filter)
    filtered = Conv <strides = [1, 2]> (bent, down_filter)
    output = Transpose <perm = [1, 0, 2, 3]> (filtered)
}
"""


def alias_free_node(
    graph: Graph, window: Value, frequency: Value, gain: Value, up: Value, down: Value, ends: Value
) -> Value:
    """Add a node, and its definition if it is the graph's first; see above."""
    function = ir.serde.deserialize_function(onnx.parser.parse_function(DEFINITION))
    op = graph.define(function, VERSION)
    output = op.AliasFreeSnakeBeta(
        window, frequency, gain, up, down, ends, plugin_namespace=DOMAIN, _outputs=1
    )
    output.dtype = window.dtype
    return output
