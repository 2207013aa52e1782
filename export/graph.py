"""One ONNX graph under construction.

In: declared inputs, outputs and states (names from `runtime.bundle`), operators and weights.
Out: `NAME.onnx`, with `NAME.onnx.data` beside it when the weights are large, and the
`GraphSpec` that the manifest needs. It knows neither models nor checkpoints; operators whose
best form depends on the engine are the dialects' (`export.dialects`).
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import onnx_ir as ir
from onnxscript import GraphBuilder, OpBuilder

from export.weights import Array, Weight
from runtime.bundle import Dimension, DType, GraphSpec, StateSpec, TensorSpec

Value = ir.Value
Precision = Literal["fp32"]

PRODUCER = "slm-deploy"
EXTERNAL_DATA_BYTES = 1024 * 1024  # graphs with more weights than this use a second file
INLINE_TENSOR_BYTES = 1024  # small tensors stay inside: shape inference reads them

_DTYPES: dict[DType, ir.DataType] = {
    "float32": ir.DataType.FLOAT,
    "float16": ir.DataType.FLOAT16,
    "int64": ir.DataType.INT64,
    "int32": ir.DataType.INT32,
    "bool": ir.DataType.BOOL,
}


@dataclass(frozen=True)
class AttentionGeometry:
    """Sizes that all attention layers of one graph share."""

    batch: int
    query_heads: int
    kv_heads: int
    head_dim: int
    max_positions: int  # rows of the rotary tables
    rope_theta: float


class KeyValues(NamedTuple):
    """One layer's KV cache, each (B, KV, capacity, D)."""

    key: Value
    value: Value


class CachedAttention(Protocol):
    """Causal rotary attention over a KV cache of fixed capacity."""

    def __call__(self, qkv: Value, past: KeyValues) -> tuple[Value, KeyValues]:
        """Packed qkv (B, S, (H + 2·KV)·D) -> (B, S, H·D) and the cache with S more positions."""


class Graph(ABC):
    """Inputs, operators, outputs: what every dialect shares.

    `op` creates standard operators: `graph.op.Add(x, 1.0)`. Python numbers and lists become
    constants of the other operand's type.
    """

    dialect: ClassVar[str]
    opset: ClassVar[int]
    ir_version: ClassVar[int]

    def __init__(self, name: str, precision: Precision = "fp32") -> None:
        self.name = name
        self.precision = precision
        graph = ir.Graph([], [], nodes=[], name=name, opset_imports={"": self.opset})
        self._builder = GraphBuilder(graph)
        self._weights: dict[str, tuple[Weight, Value]] = {}
        self._inputs: list[TensorSpec] = []
        self._outputs: list[TensorSpec] = []
        self._states: list[StateSpec] = []
        self._functions: dict[ir.OperatorIdentifier, ir.Function] = {}

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

    # Constants and weights.

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names of nodes made inside begin with `name`: what profilers and viewers show."""
        self._builder.push_module(name)
        yield
        self._builder.pop_module()

    def constant(self, array: Array, name: str) -> Value:
        """A small array that is part of the graph, with its own dtype."""
        return self._builder.initializer(ir.tensor(array, name=name), name)

    def weight(self, weight: Weight) -> Value:
        """A float32 initializer. Asked for twice, the same weight is stored once."""
        if weight.name not in self._weights:
            self._weights[weight.name] = (weight, self._initializer(weight))
        known, value = self._weights[weight.name]
        assert known.shape == weight.shape, f"two weights are called {weight.name}"
        return value

    def _initializer(self, weight: Weight) -> Value:
        tensor = ir.LazyTensor(
            lambda: ir.tensor(_checked(weight), name=weight.name),
            dtype=ir.DataType.FLOAT,
            shape=ir.Shape(weight.shape),
            name=weight.name,
        )
        return self._builder.initializer(tensor, weight.name, qualify=False)

    # Layers that are the same in every dialect.

    def linear(self, x: Value, weight: Weight, bias: Weight | None = None) -> Value:
        """x (…, in) times weight (out, in), or batched (N, S, in) times (N, out, in), plus bias.

        Every matrix product with a weight passes through here: the one place that decides
        in which number format the weight is stored.
        """
        product = self.op.MatMul(x, self.weight(weight.transposed()))
        return product if bias is None else self.op.Add(product, self.weight(bias))

    def silu(self, x: Value) -> Value:
        """x · sigmoid(x)."""
        return self.op.Mul(x, self.op.Sigmoid(x))

    def layer_norm(self, x: Value, weight: Weight, bias: Weight, epsilon: float) -> Value:
        """LayerNorm over the last axis. A batch of heads has weights (N, 1, H)."""
        unit = self.constant(np.ones(weight.shape[-1], np.float32), f"{weight.name}.unit")
        normed = self.op.LayerNormalization(x, unit, axis=-1, epsilon=epsilon)
        return self.op.Add(self.op.Mul(normed, self.weight(weight)), self.weight(bias))

    def last_position(self, x: Value) -> Value:
        """(B, S, H) -> (B, 1, H)."""
        return self.op.Slice(x, [-1], [2**31 - 1], [1])

    # Layers whose best operators depend on the engine.

    @abstractmethod
    def rms_norm(self, x: Value, weight: Weight, epsilon: float) -> Value:
        """x / sqrt(mean(x²) + epsilon) · weight, over the last axis."""

    @abstractmethod
    def add_rms_norm(
        self, x: Value, residual: Value, weight: Weight, epsilon: float
    ) -> tuple[Value, Value]:
        """(rms_norm(x + residual), x + residual)."""

    @abstractmethod
    def attention(
        self, geometry: AttentionGeometry, past_length: Value, x: Value, cache: Value
    ) -> CachedAttention:
        """What all layers share, computed once: positions of `x` (B, S, …) after `past_length`.

        `cache` is any layer's key cache (B, KV, capacity, D).
        """

    # Saving.

    def save(self, folder: Path) -> GraphSpec:
        """Write the graph into `folder`, atomically, and return its description."""
        missing = {state.output for state in self._states} - {out.name for out in self._outputs}
        assert not missing, f"{self.name}: states without an output: {missing}"
        file, weights = f"{self.name}.onnx", self._data_file()
        with tempfile.TemporaryDirectory(prefix=f".{self.name}-", dir=folder) as scratch:
            ir.save(
                self.model(),
                Path(scratch) / file,
                external_data=weights,
                size_threshold_bytes=INLINE_TENSOR_BYTES,
            )
            for name in filter(None, (weights, file)):
                os.replace(Path(scratch) / name, folder / name)
        return self.spec(file, weights)

    def model(self) -> ir.Model:
        """The model as it is saved; its weights are still unread."""
        graph = self._builder.graph
        for node in graph:
            node.metadata_props.clear()  # the builder's notes about itself
        functions = tuple(self._functions.values())
        return ir.Model(
            graph, ir_version=self.ir_version, producer_name=PRODUCER, functions=functions
        )

    def spec(self, file: str, weights: str | None) -> GraphSpec:
        """What the manifest says about this graph."""
        return GraphSpec(
            file=file,
            precision=self.precision,
            inputs=tuple(self._inputs),
            outputs=tuple(self._outputs),
            states=tuple(self._states),
            weights=weights,
        )

    def _data_file(self) -> str | None:
        values = self._builder.graph.initializers.values()
        size = sum(value.const_value.nbytes for value in values if value.const_value is not None)
        return f"{self.name}.onnx.data" if size > EXTERNAL_DATA_BYTES else None


def _checked(weight: Weight) -> Array:
    array = np.ascontiguousarray(weight.read(), np.float32)
    assert array.shape == weight.shape, f"{weight.name}: {array.shape} is not {weight.shape}"
    return array
