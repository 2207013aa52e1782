"""A log of a graph's products and their inputs, kept while the graph is built.

In: graphs under construction. Out: a `ProductLog`. A graph lets a format write the product with a
weight. `LoggedProduct` and `LoggedConvolution` are formats that write floats and note the product
in the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from export.graph.model_graph import ModelGraph
from export.graph.precisions import LinearFormat
from export.graph.writer import GraphWriter, Value
from formats.weights import Weight
from runtime.bundle.names import BACKBONE, MTP_HEAD, NTP_HEAD

GRAPHS = (BACKBONE, MTP_HEAD, NTP_HEAD)  # the others run once for each utterance, or never


@dataclass(frozen=True)
class Product:
    """A weight and the value that flows into its product, in the graph of that name."""

    graph: str
    x: Value
    weight: Weight


@dataclass(frozen=True)
class ProductLog:
    """Products in the order in which they were written, by the name of their weight."""

    products: dict[str, Product] = field(default_factory=dict)

    def note(self, graph: GraphWriter, x: Value, weight: Weight) -> None:
        self.products[weight.name] = Product(graph.name, x, weight)

    def weights(self) -> Iterator[Weight]:
        """The weights of all products, in the shapes that the graphs use."""
        return (product.weight for product in self.products.values())

    def values_by_weight(self) -> dict[str, str]:
        """Name of the value that flows into each product, by the weight's name."""
        return {name: str(product.x.name) for name, product in self.products.items()}

    def values_by_graph(self) -> dict[str, list[str]]:
        """Names of the values to watch in each graph."""
        names: dict[str, list[str]] = {}
        for product in self.products.values():
            names.setdefault(product.graph, []).append(str(product.x.name))
        return names


@dataclass(frozen=True)
class LoggedProduct:
    """A `LinearFormat` that computes as `stored` does and logs the products of `GRAPHS`."""

    stored: LinearFormat
    log: ProductLog

    def product(self, graph: GraphWriter, x: Value, weight: Weight) -> Value:
        if x.is_graph_input():
            x = graph.op.Identity(x)
        if graph.name in GRAPHS:
            self.log.note(graph, x, weight)
        return self.stored.product(graph, x, weight)


@dataclass(frozen=True)
class LoggedConvolution:
    """A `ConvolutionFormat` that leaves both operands as they are and logs them."""

    log: ProductLog

    def operands(self, graph: ModelGraph, x: Value, weight: Weight) -> tuple[Value, Value]:
        self.log.note(graph, x, weight)
        return x, graph.weight(weight)
