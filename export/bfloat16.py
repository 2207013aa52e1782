"""Graphs with bfloat16 on a CPU, for which ONNX Runtime has no bfloat16 arithmetic.

In: a saved graph. Out: a session of the same graph in which every operator that computes in
bfloat16 is put between casts: its inputs become float32, which changes no value, and its
outputs are rounded to bfloat16, as they are where such arithmetic exists. Operators that only
move data are left alone. It is for checks; it is slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir
import onnxruntime

from runtime.errors import UserError

PROVIDER = "CPUExecutionProvider"
EXTERNAL_DATA_FOLDER = "session.model_external_initializers_file_folder_path"

# What ONNX Runtime can do with bfloat16 on the CPU.
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
    """A CPU session of the graph at `path`, with casts where it computes in bfloat16.

    watched: names of values that become outputs, after those that the graph has.
    """
    model = ir.load(path)
    _make_outputs(model.graph, watched)
    if not watched and not any(_computes_bfloat16(node) for node in model.graph):
        return onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
    for node in list(model.graph):
        if _computes_bfloat16(node):
            _put_between_casts(model.graph, node)
    options.add_session_config_entry(EXTERNAL_DATA_FOLDER, str(path.parent))
    content = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=[PROVIDER])


def _make_outputs(graph: ir.Graph, watched: Sequence[str]) -> None:
    values = {value.name: value for node in graph for value in node.outputs}
    for name in watched:
        if name not in values:
            raise UserError(f"{graph.name}: has no value {name!r} to look at; export it again")
        values[name].dtype = values[name].dtype or ir.DataType.FLOAT
        graph.outputs.append(values[name])


def _computes_bfloat16(node: ir.Node) -> bool:
    values = [*filter(None, node.inputs), *node.outputs]
    return node.op_type not in _MOVES and any(_is_bfloat16(value) for value in values)


def _is_bfloat16(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.BFLOAT16


def _put_between_casts(graph: ir.Graph, node: ir.Node) -> None:
    for index, value in enumerate(node.inputs):
        if value is not None and _is_bfloat16(value):
            wide = _cast(value, ir.DataType.FLOAT)
            graph.insert_before(node, wide)
            node.replace_input_with(index, wide.outputs[0])
    for value in node.outputs:
        if _is_bfloat16(value):
            value.dtype = ir.DataType.FLOAT
            rounded = _cast(value, ir.DataType.BFLOAT16)
            users = [use for use in value.uses() if use.node is not rounded]
            graph.insert_after(node, rounded)
            for user, index in users:
                user.replace_input_with(index, rounded.outputs[0])


def _cast(value: ir.Value, dtype: ir.DataType) -> ir.Node:
    node = ir.node("Cast", [value], {"to": dtype})
    node.outputs[0].dtype = dtype
    return node
