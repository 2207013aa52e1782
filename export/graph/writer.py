"""One ONNX graph under construction.

In: declared inputs, outputs and states (names from `runtime.bundle`), operators and weights.
Out: `NAME.onnx`, with `NAME.onnx.data` beside it when the weights are large, and the
`GraphSpec` that the manifest needs. It knows neither models nor checkpoints. Operators whose best
form depends on the engine are in `export.graph.dialects`.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from onnxscript import GraphBuilder, OpBuilder

from commands.errors import UserError
from formats.files.atomic import replacing_files
from formats.weights import Array, Weight
from runtime.bundle.manifest import (
    Dimension,
    DType,
    GraphSpec,
    Precision,
    Range,
    StateSpec,
    TensorSpec,
)
from runtime.bundle.names import IN_PLACE_FACT, ROWS

Value = ir.Value

PRODUCER = "slm-deploy"
EXTERNAL_DATA_BYTES = 1024 * 1024  # graphs with more weights than this use a second file
INLINE_TENSOR_BYTES = 1024  # small tensors stay inside: shape inference reads them

_DTYPES: dict[DType, ir.DataType] = {
    "float32": ir.DataType.FLOAT,
    "float16": ir.DataType.FLOAT16,
    "bfloat16": ir.DataType.BFLOAT16,
    "int64": ir.DataType.INT64,
    "int32": ir.DataType.INT32,
    "bool": ir.DataType.BOOL,
}


class GraphWriter(ABC):
    """Inputs, operators, weights and outputs, down to the file.

    `op` creates standard operators: `graph.op.Add(x, 1.0)`. Python numbers and lists become
    constants of the other operand's type.
    """

    dialect: ClassVar[str]
    opset: ClassVar[int]
    ir_version: ClassVar[int]
    compute_types: ClassVar[Mapping[Precision, DType]]  # by precision; others are refused

    def __init__(self, name: str, precision: Precision = "fp32") -> None:
        self.name = name
        self.precision = precision
        self.compute = self._compute_type(precision)
        opset = self.opset_for(precision)
        graph = ir.Graph([], [], nodes=[], name=name, opset_imports={"": opset})
        self._builder = GraphBuilder(graph)
        self._weights: dict[str, tuple[Weight, Value]] = {}
        self._inputs: list[TensorSpec] = []
        self._outputs: list[TensorSpec] = []
        self._states: list[StateSpec] = []
        self._profiles: dict[str, dict[str, Range]] = {}
        self._facts: dict[str, str] = {}
        self._functions: dict[ir.OperatorIdentifier, ir.Function] = {}

    @classmethod
    def opset_for(cls, precision: Precision) -> int:
        """The version of the standard operators in a graph of this precision."""
        return cls.opset

    @property
    def op(self) -> OpBuilder:
        """Operators of the standard ONNX domain."""
        return self._builder.op

    def define(self, function: ir.Function, version: int) -> OpBuilder:
        """Operators of the function's domain; the function goes into the file, once."""
        self._builder.graph.opset_imports[function.domain] = version
        self._functions.setdefault(function.identifier(), function)
        return self._builder.opset(function.domain, version)

    # Interface of the graph.

    def input(self, name: str, dtype: DType, shape: Sequence[Dimension]) -> Value:
        """Declare an input."""
        self._inputs.append(TensorSpec(name, dtype, tuple(shape)))
        return self._builder.input(name, _DTYPES[dtype], list(shape))

    def state(
        self, past: str, present: str, dtype: DType, shape: Sequence[Dimension], *, in_place: bool
    ) -> Value:
        """Declare an input that the next call takes from this call's output `present`."""
        self._states.append(StateSpec(past, present, in_place))
        return self.input(past, dtype, shape)

    def output(self, name: str, value: Value, dtype: DType, shape: Sequence[Dimension]) -> None:
        """Declare an output. Its shape replaces whatever inference found."""
        if value.is_graph_input() or value.is_graph_output() or value.is_initializer():
            value = self.op.Identity(value)
        value.dtype = _DTYPES[dtype]
        value.shape = ir.Shape(shape)
        self._outputs.append(TensorSpec(name, dtype, tuple(shape)))
        self._builder.add_output(value, name)

    def profile(self, name: str, **ranges: Range) -> None:
        """Declare one way of calling the graph: the range of each named dimension but the rows."""
        self._profiles[name] = ranges

    def fact(self, name: str, value: int) -> None:
        """Note a number that no shape shows in the file; runtimes compare it with the manifest."""
        self._facts[name] = str(value)

    # Constants and weights.

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names of nodes made inside begin with `name`, for profilers and viewers."""
        self._builder.push_module(name)
        yield
        self._builder.pop_module()

    def constant(self, array: Array, name: str) -> Value:
        """A small array that is part of the graph, with its own dtype."""
        return self._builder.initializer(ir.tensor(array, name=name), name)

    def lazy_constant(
        self, name: str, dtype: ir.DataType, shape: Sequence[int], read: Callable[[], Array]
    ) -> Value:
        """An initializer of any type. `read` returns its values in NumPy's (or ml_dtypes') type of
        the same name; it is called when the graph is saved."""
        tensor = ir.LazyTensor(
            lambda: ir.tensor(read(), dtype=dtype, name=name),
            dtype=dtype,
            shape=ir.Shape(shape),
            name=name,
        )
        return self._builder.initializer(tensor, name, qualify=False)

    def weight(self, weight: Weight, dtype: DType = "float32") -> Value:
        """An initializer of a float type. A weight that is used twice is stored once."""
        if weight.name not in self._weights:
            value = self.lazy_constant(
                weight.name, _DTYPES[dtype], weight.shape, lambda: _checked(weight, dtype)
            )
            self._weights[weight.name] = (weight, value)
        known, value = self._weights[weight.name]
        assert known.shape == weight.shape, f"two weights are called {weight.name}"
        assert value.dtype == _DTYPES[dtype], f"{weight.name} is stored as {value.dtype}"
        return value

    # Number formats.

    def cast(self, x: Value, dtype: DType) -> Value:
        """x in another float type, or x itself if that is its type."""
        return x if x.dtype == _DTYPES[dtype] else self.op.Cast(x, to=_DTYPES[dtype])

    def narrow(self, x: Value) -> Value:
        """x in the type of products and attention."""
        return self.cast(x, self.compute)

    def widen(self, x: Value) -> Value:
        """x as float32, the type of residual streams, statistics, scores, inputs and outputs."""
        return self.cast(x, "float32")

    # Saving.

    def save(self, folder: Path, rows: int = 1) -> GraphSpec:
        """Write the graph into `folder`, atomically, and return its description.

        rows: the most that one call takes, for the ranges of its profiles.
        """
        missing = {state.output for state in self._states} - {out.name for out in self._outputs}
        assert not missing, f"{self.name}: states without an output: {missing}"
        file, weights = f"{self.name}.onnx", self._data_file()
        files = [file] if weights is None else [weights, file]
        with replacing_files(folder, files) as scratch, _own_errors():
            ir.save(
                self.model(),
                scratch / file,
                external_data=weights,
                size_threshold_bytes=INLINE_TENSOR_BYTES,
            )
        return self.spec(file, weights, rows)

    def model(self) -> ir.Model:
        """The model as it is saved. Its weights are not read yet."""
        graph = self._builder.graph
        for node in graph:
            node.metadata_props.clear()  # the builder's notes about itself
        functions = tuple(self._functions.values())
        in_place = ",".join(state.output for state in self._states if state.in_place)
        return ir.Model(
            graph,
            ir_version=self.ir_version,
            producer_name=PRODUCER,
            functions=functions,
            metadata_props=self._facts | {IN_PLACE_FACT: in_place},
        )

    def spec(self, file: str, weights: str | None, rows: int = 1) -> GraphSpec:
        """What the manifest says about this graph."""
        has_rows = any(ROWS in tensor.shape for tensor in self._inputs)
        ranges = {ROWS: Range(1, 1, rows)} if has_rows else {}
        return GraphSpec(
            file=file,
            precision=self.precision,
            inputs=tuple(self._inputs),
            outputs=tuple(self._outputs),
            states=tuple(self._states),
            weights=weights,
            profiles={name: ranges | own for name, own in self._profiles.items()},
        )

    def _compute_type(self, precision: Precision) -> DType:
        if precision not in self.compute_types:
            raise UserError(
                f"the {self.dialect} dialect has no {precision}, only "
                f"{', '.join(self.compute_types)}; use another --dialect or --precision"
            )
        return self.compute_types[precision]

    def _data_file(self) -> str | None:
        values = self._builder.graph.initializers.values()
        size = sum(value.const_value.nbytes for value in values if value.const_value is not None)
        return f"{self.name}.onnx.data" if size > EXTERNAL_DATA_BYTES else None


@contextmanager
def _own_errors() -> Iterator[None]:
    """Raise a `UserError` of a weight without the errors that onnx_ir wraps around it."""
    try:
        yield
    except ir.serde.SerdeError as error:
        cause: BaseException | None = error
        while isinstance(cause, ir.serde.SerdeError):
            cause = cause.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        raise


def float_name(dtype: ir.DataType | None) -> DType:
    return next(name for name, known in _DTYPES.items() if known == dtype)


def _checked(weight: Weight, dtype: DType) -> Array:
    array = np.ascontiguousarray(weight.read(), np.float32)
    assert array.shape == weight.shape, f"{weight.name}: {array.shape} is not {weight.shape}"
    with np.errstate(over="ignore"):  # looked for below
        stored: Array = array.astype(_DTYPES[dtype].numpy())
    if np.isinf(stored).any() and not np.isinf(array).any():
        raise UserError(
            f"{weight.name}: {np.abs(array).max():.3g} is beyond {dtype}; "
            "export with --precision bf16 or fp32"
        )
    return stored
