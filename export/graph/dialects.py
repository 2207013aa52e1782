"""The ways to write the operators that engines disagree about.

`ort` has fused com.microsoft operators, the fastest on ONNX Runtime's CPU provider. `portable` has
standard ONNX only, which TensorRT 10.15 and newer parse. `basic` has standard ONNX without the
operators that came late, for TensorRT 10.3. All compute the same numbers. They know neither models
nor checkpoints.
"""

from __future__ import annotations

from commands.errors import UserError
from export.graph.basic_graph import BasicGraph
from export.graph.model_graph import ModelGraph
from export.graph.onnxruntime_version import check_onnxruntime
from export.graph.ort_graph import OrtGraph
from export.graph.portable_graph import PortableGraph
from export.graph.precisions import GraphNumbers

DIALECTS: dict[str, type[ModelGraph]] = {
    graph.dialect: graph for graph in (OrtGraph, PortableGraph, BasicGraph)
}


def new_graph(name: str, numbers: GraphNumbers) -> ModelGraph:
    """An empty graph.

    Raises:
        UserError: an unknown dialect, or a precision that it lacks.
        OldOnnxRuntime: it could not be checked here.
    """
    dialect = DIALECTS.get(numbers.dialect)
    if dialect is None:
        raise UserError(f"unknown dialect {numbers.dialect!r}; there are: {', '.join(DIALECTS)}")
    if dialect is PortableGraph:
        check_onnxruntime(", or export with --dialect basic")
    return dialect(name, numbers.precision, numbers.formats)
