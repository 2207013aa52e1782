"""An ONNX graph as TensorRT's parser understands it.

In: a graph of standard operators. Out: a `Network`: TensorRT's objects, and which layer feeds
which. `export.plans.inspection` checks whether the parser understood the graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from commands.errors import UserError
from export.plans.library import Library
from runtime.bundle.manifest import GraphSpec
from runtime.engines.tensorrt.dtypes import dtype_name


@dataclass(frozen=True)
class Layer:
    """One layer. inputs and outputs: TensorRT's tensors, without those that are left out."""

    kind: str  # MATRIX_MULTIPLY, KV_CACHE_UPDATE, ...
    name: str
    node: str  # name of its ONNX node; "" if the parser gives none
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    slots: tuple[str | None, ...]  # names of the inputs by position; None where left out


@dataclass(frozen=True)
class Network:
    """A parsed graph. It keeps the builder and the parser, which own the network's memory."""

    name: str
    spec: GraphSpec
    library: Library
    builder: Any
    parser: Any
    raw: Any

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(_read_layer(self.raw.get_layer(i)) for i in range(self.raw.num_layers))

    @cached_property
    def inputs(self) -> dict[str, Any]:
        tensors = (self.raw.get_input(i) for i in range(self.raw.num_inputs))
        return {tensor.name: tensor for tensor in tensors}

    @cached_property
    def outputs(self) -> dict[str, Any]:
        tensors = (self.raw.get_output(i) for i in range(self.raw.num_outputs))
        return {tensor.name: tensor for tensor in tensors}

    @cached_property
    def producers(self) -> dict[str, Layer]:
        """The layer that makes a tensor, by the tensor's name."""
        return {tensor.name: layer for layer in self.layers for tensor in layer.outputs}

    def ancestors(self, *tensors: str) -> set[str]:
        """Names of these tensors and of all tensors that they are computed from."""
        found: set[str] = set()
        waiting = list(tensors)
        while waiting:
            tensor = waiting.pop()
            if tensor not in found:
                found.add(tensor)
                layer = self.producers.get(tensor)
                waiting += [parent.name for parent in layer.inputs] if layer else []
        return found

    def dtype(self, tensor: Any) -> str:
        """ "float32", "float16" …, as manifests write it."""
        return dtype_name(str(tensor.dtype).rpartition(".")[2])


_NODE = "[ONNX Layer: "


def parse(library: Library, name: str, spec: GraphSpec, folder: Path) -> Network:
    """Parse the graph's file. `name` is its key in the manifest.

    Raises:
        UserError: TensorRT does not know an operator or its attributes.
    """
    library.messages.clear()
    builder = library.new_builder()
    raw = library.new_network(builder)
    parser = library.new_parser(raw)
    if not parser.parse_from_file(str(folder / spec.file)):
        raise UserError(
            f"{folder / spec.file}: {library.title} cannot parse it: "
            f"{'; '.join(_parser_errors(parser)) or library.last_error()}"
        )
    return Network(name, spec, library, builder, parser, raw)


def _parser_errors(parser: Any) -> Iterator[str]:
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        yield f"{error.node_name() or 'graph'} ({error.node_operator()}): {error.desc()}"


def _read_layer(layer: Any) -> Layer:
    inputs = [layer.get_input(i) for i in range(layer.num_inputs)]
    outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
    metadata = layer.metadata
    return Layer(
        kind=str(layer.type).rpartition(".")[2],
        name=layer.name,
        node=metadata[len(_NODE) : -1] if metadata.startswith(_NODE) else "",
        inputs=tuple(tensor for tensor in inputs if tensor is not None),
        outputs=tuple(tensor for tensor in outputs if tensor is not None),
        slots=tuple(None if tensor is None else tensor.name for tensor in inputs),
    )
