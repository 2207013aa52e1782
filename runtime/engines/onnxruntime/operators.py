"""Operators of ONNX Runtime's profile, folded into the layers and parts of the model.

In: names and types of the operators of one call, as they ran. Out: a place for each. Exporters
name a node SCOPE/OPERATOR_node_NUMBER, numbered along the graph; optimizers keep the number in the
names they make. So a place follows from the scope and the number, with the products as landmarks.
What cannot be folded keeps its operator's name, so that the places are the whole call.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from runtime.bundle import names
from runtime.engines.parts import (
    ACTIVATION,
    ATTENTION,
    CODES,
    CONVOLUTION,
    DOWN,
    DRAWING,
    FINAL,
    FIRST,
    GATE_UP,
    HEADS,
    INNER,
    LAST,
    LATENTS,
    NORM,
    OTHER,
    OUTPUT,
    QKV,
    Place,
)

_NUMBER = re.compile(r"[A-Z][A-Za-z0-9]*(?:_node)?_(\d+)")
_LAYER = re.compile(r"layer_(\d+)[/.]")
_BLOCK = re.compile(r"decoder\.model\.(\d+)(?:\.block\.(\d+))?[/.]")
# Block 0 of a stage is its activation, block 1 the convolution that changes the rate.
_FIRST_UNIT = 2


class Operator(NamedTuple):
    """name: of the node. kind: such as "MatMul"."""

    name: str
    kind: str


def find_places(graph: str, operators: Sequence[Operator]) -> list[Place]:
    """The place of each operator of one call of the graph, in the same order."""
    fold = _FOLDS[graph]
    places = fold([_Node(number_of(one.name), *one) for one in operators])
    known = [place or _neighbour(operators, places, at) for at, place in enumerate(places)]
    return [place or Place(OTHER, one.kind) for place, one in zip(known, operators, strict=True)]


def number_of(name: str) -> int | None:
    """A node's number in the exported graph; None for nodes that only ONNX Runtime knows."""
    found = _NUMBER.findall(name)
    return int(found[-1]) if found else None


class _Node(NamedTuple):
    number: int | None
    name: str
    kind: str

    @property
    def order(self) -> int:
        """Nodes without a number come first."""
        return -1 if self.number is None else self.number

    @property
    def is_product(self) -> bool:
        return "MatMul" in self.kind or "Gemm" in self.kind

    @property
    def is_norm(self) -> bool:
        return "Normalization" in self.kind


_Places = list[Place | None]


def _neighbour(operators: Sequence[Operator], places: _Places, at: int) -> Place | None:
    """ONNX Runtime lays tensors out anew before and after its convolutions."""
    if operators[at].kind == "ReorderInput":
        return next((place for place in places[at + 1 :] if place), None)
    if operators[at].kind == "ReorderOutput":
        return next((place for place in reversed(places[:at]) if place), None)
    return None


# Decoder layers.


def _fold_backbone(nodes: list[_Node]) -> _Places:
    places, last = _fold_layers(nodes, "{}")
    for at, node in enumerate(nodes):
        if places[at] is None and node.number is not None and node.number > last:
            places[at] = Place(FINAL, NORM if node.is_norm else node.kind)
    return places


def _fold_layers(nodes: list[_Node], name: str) -> tuple[_Places, int]:
    """Places in decoder layers, and the largest number in them."""
    places: _Places = [None] * len(nodes)
    layers: defaultdict[int, list[int]] = defaultdict(list)
    last = -1
    for at, node in enumerate(nodes):
        if (found := _LAYER.search(node.name)) and node.number is not None:
            layers[int(found[1])].append(at)
            last = max(last, node.number)
    for layer, members in layers.items():
        part_of = _parts_of_layer([nodes[at] for at in members])
        for at in members:
            places[at] = Place(name.format(layer), part_of(nodes[at]))
    return places, last


def _parts_of_layer(nodes: list[_Node]) -> Callable[[_Node], str]:
    """Which part a node of the layer belongs to.

    The first product is that of queries, keys and values, and the last three are the others;
    products between them belong to attention.
    """
    products = sorted(node.order for node in nodes if node.is_product)
    if len(products) < 4:
        return lambda node: node.kind
    qkv, output, gate_up, down = products[0], *products[-3:]
    has_bias = any(node.order == qkv + 1 and node.kind == "Add" for node in nodes)
    norm = min((node.order for node in nodes if node.is_norm and node.order > output), default=down)
    starts = {
        qkv: QKV,
        qkv + 1 + has_bias: ATTENTION,
        output: OUTPUT,
        min(norm, gate_up): NORM,
        gate_up: GATE_UP,
        gate_up + 1: ACTIVATION,
        down: DOWN,
    }
    numbers, parts = list(starts), [NORM, *starts.values()]
    return lambda node: parts[bisect_right(numbers, node.order)]


# Heads: perhaps decoder layers, which are those of all heads side by side, then products, then
# drawing.


def _fold_head(nodes: list[_Node]) -> _Places:
    places, last_layer = _fold_layers(nodes, HEADS + " layer {}")
    products = sorted(
        node.number
        for node, place in zip(nodes, places, strict=True)
        if place is None and node.is_product and node.number is not None
    )
    for at, node in enumerate(nodes):
        if places[at] is None and node.number is not None:
            places[at] = _place_in_head(node, node.number, products, last_layer)
    return places


def _place_in_head(node: _Node, number: int, products: list[int], last_layer: int) -> Place:
    if not products or number < last_layer:
        return Place(OTHER, node.kind)
    output = products[-1]
    if number > output and not (number == output + 1 and node.kind == "Add"):
        return Place(DRAWING, CODES)
    if number >= output or (last_layer < 0 and len(products) == 1):
        return Place(HEADS, OUTPUT)
    return Place(HEADS, INNER if last_layer < 0 else NORM)


# The codec's decoder. Its model is a first convolution, stages of blocks, an activation and a last
# convolution. What has no scope lies between those that have.


def _fold_codec(nodes: list[_Node]) -> _Places:
    convolutions = [node.order for node in nodes if "Conv" in node.kind and node.number is not None]
    blocks = sorted(
        (node.order, int(found[1]), None if found[2] is None else int(found[2]))
        for node in nodes
        if node.number is not None and (found := _BLOCK.search(node.name))
    )
    first, numbers = min(convolutions, default=0), [number for number, _, _ in blocks]

    def place_of(node: _Node) -> Place | None:
        if node.number is None:  # the latents' norm is fused, and the only one
            return Place(FIRST, LATENTS) if node.is_norm else None
        if (before := bisect_right(numbers, node.number)) == 0:
            return Place(FIRST, CONVOLUTION if node.number >= first else LATENTS)
        _, index, block = blocks[before - 1]
        if block is None:
            return Place(LAST, CONVOLUTION)
        is_unit = block >= _FIRST_UNIT
        part = f"unit {block - _FIRST_UNIT}" if is_unit else CONVOLUTION
        return Place(f"stage {index}", part)

    return [place_of(node) for node in nodes]


_FOLDS: dict[str, Callable[[list[_Node]], _Places]] = {
    names.BACKBONE: _fold_backbone,
    names.MTP_HEAD: _fold_head,
    names.NTP_HEAD: _fold_head,
    names.CODEC_DECODER: _fold_codec,
}
