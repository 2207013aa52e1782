"""A network beside the ONNX file that it was parsed from: what an inspection's checks are given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from export.plans.network import Layer, Network
from export.plans.precision_plan import PrecisionPlan


@dataclass(frozen=True)
class Inspected:
    """A network beside the nodes of its file."""

    network: Network
    nodes: dict[str, ir.Node]  # by name
    plan: PrecisionPlan

    def nodes_of(self, operator: str) -> Iterator[ir.Node]:
        return (node for node in self.nodes.values() if node.op_type == operator)

    def layer_of(self, node: ir.Node, kind: str) -> Layer | None:
        """The layer of this kind that the parser made for a node."""
        return next((one for one in self.layers_of(kind) if one.node == node.name), None)

    def layers_of(self, kind: str) -> Iterator[Layer]:
        return (layer for layer in self.network.layers if layer.kind == kind)
