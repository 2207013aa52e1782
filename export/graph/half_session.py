"""Graphs in half precision on a CPU, rounded as engines with half-precision arithmetic round.

In: a saved graph. Out: a session of the same graph. In it, every operator that computes in float16
or bfloat16 stands between casts: its inputs become float32, which changes no value, and its outputs
are rounded. On the CPU, ONNX Runtime has no bfloat16 arithmetic, and it computes float16 in float32
over several operators at a time, which hides both rounding and overflow. Operators that only move
data stay as they are. It is for checks; it is slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir
import onnxruntime

from commands.errors import UserError

PROVIDER = "CPUExecutionProvider"
EXTERNAL_DATA_FOLDER = "session.model_external_initializers_file_folder_path"

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

# Operators without arithmetic, which ONNX Runtime has for both types on the CPU.
_MOVES = frozenset(
    {
        "Cast",
        "Concat",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "TensorScatter",
        "Transpose",
        "Unsqueeze",
    }
)


def open_session(
    path: Path, options: onnxruntime.SessionOptions, watched: Sequence[str] = ()
) -> onnxruntime.InferenceSession:
    """A CPU session of the graph at `path`, with casts where it computes in half precision.

    watched: names of values that become outputs, after those that the graph has.
    """
    rounding = _rounding_model(path, watched)
    if rounding is None:
        return onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
    _save_memory(options)
    options.add_session_config_entry(EXTERNAL_DATA_FOLDER, str(path.parent))
    return onnxruntime.InferenceSession(rounding, options, providers=[PROVIDER])


def _save_memory(options: onnxruntime.SessionOptions) -> None:
    """Widen a weight just before its product and free it at once.

    Otherwise ONNX Runtime holds all weights as float32, since it folds their casts or computes
    them first: 1.9 GB instead of 1.2 at the published size, and with INT4 3.3 instead of 0.5.
    """
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    options.enable_cpu_mem_arena = False


def write_rounding_copy(path: Path, copy: Path) -> bool:
    """Write the graph with casts to `copy`, whose folder holds the same weights.

    Returns False and writes nothing if the graph at `path` has no half precision.
    """
    rounding = _rounding_model(path)
    if rounding is not None:
        copy.write_bytes(rounding)
    return rounding is not None


def _rounding_model(path: Path, watched: Sequence[str] = ()) -> bytes | None:
    """The graph with casts and watched values, without its external weights. None if it needs
    neither."""
    model = ir.load(path)
    _make_outputs(model.graph, watched)
    nodes = [node for node in model.graph if _computes_in_half(node)]
    for node in nodes:
        _put_between_casts(model.graph, node)
    return ir.to_proto(model).SerializeToString() if nodes or watched else None


def _make_outputs(graph: ir.Graph, watched: Sequence[str]) -> None:
    values = {value.name: value for node in graph for value in node.outputs}
    for name in watched:
        if name not in values:
            raise UserError(f"{graph.name}: has no value {name!r}; export it again")
        values[name].dtype = values[name].dtype or ir.DataType.FLOAT
        graph.outputs.append(values[name])


def _computes_in_half(node: ir.Node) -> bool:
    values = [*filter(None, node.inputs), *node.outputs]
    return node.op_type not in _MOVES and any(_is_half(value) for value in values)


def _is_half(value: ir.Value) -> bool:
    return value.dtype in _HALVES


def _put_between_casts(graph: ir.Graph, node: ir.Node) -> None:
    for index, value in enumerate(node.inputs):
        if value is not None and _is_half(value):
            wide = _cast(value, ir.DataType.FLOAT)
            graph.insert_before(node, wide)
            node.replace_input_with(index, wide.outputs[0])
    for value in node.outputs:
        if _is_half(value):
            rounded = _cast(value, value.dtype)
            value.dtype = ir.DataType.FLOAT
            graph.insert_after(node, rounded)
            _take_place(graph, value, rounded)


def _take_place(graph: ir.Graph, value: ir.Value, rounded: ir.Node) -> None:
    """Let the result of `rounded` stand for its input `value`, in nodes and among outputs."""
    result = rounded.outputs[0]
    for user, index in list(value.uses()):
        if user is not rounded:
            user.replace_input_with(index, result)
    if value.is_graph_output():
        result.name, value.name = value.name, f"{value.name}_wide"
        result.shape = value.shape
        graph.outputs[graph.outputs.index(value)] = result


def _cast(value: ir.Value, dtype: ir.DataType | None) -> ir.Node:
    assert dtype is not None
    node = ir.node("Cast", [value], {"to": dtype})
    node.outputs[0].dtype = dtype
    return node
