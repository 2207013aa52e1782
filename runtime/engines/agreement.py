"""Compares an opened graph with the manifest, once, before memory is allocated for it.

In: a graph's specification, and the tensors and metadata that an engine found in the file.
Out: nothing, or one line that names the file and the first tensor that differs. It does not know
engines; `runtime.bundle.contract` checks the manifest itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from commands.errors import UserError
from runtime.bundle.contract import facts_of
from runtime.bundle.interfaces import describe
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import Dimension, GraphSpec, TensorSpec


class Found(NamedTuple):
    """A tensor of an opened graph. Sizes that a run chooses are names, or None if the engine does
    not give them."""

    dtype: str
    shape: tuple[Dimension | None, ...]


def check_tensors(
    graph: str, spec: GraphSpec, inputs: Mapping[str, Found], outputs: Mapping[str, Found]
) -> None:
    """Same names, directions, types and sizes as in the manifest; graph: its name in messages.

    Raises:
        UserError: the first difference.
    """
    found = {*inputs, *outputs}
    described = {tensor.name for tensor in (*spec.inputs, *spec.outputs)}
    if found != described:
        raise mismatch(graph, f"has the tensors {_joined(found)}", _joined(described))
    for tensors, here in ((spec.inputs, inputs), (spec.outputs, outputs)):
        for tensor in tensors:
            if tensor.name not in here:
                other = "output" if tensors is spec.inputs else "input"
                raise mismatch(graph, f"has {tensor.name} as an {other}", "the opposite")
            _check_tensor(graph, tensor, here[tensor.name])


def check_facts(graph: str, bundle: Bundle, name: str, metadata: Mapping[str, str]) -> None:
    """Facts that no shape shows, as far as the file has them.

    Raises:
        UserError: the first difference.
    """
    for fact, described in facts_of(bundle.manifest, name).items():
        found = metadata.get(fact, described)
        if found != described:
            raise mismatch(graph, f"has {fact} {found or 'of none'}", described or "none")


def mismatch(graph: str, found: str, described: str) -> UserError:
    return UserError(f"{graph} {found}, the manifest says {described}; export again")


def _check_tensor(graph: str, described: TensorSpec, found: Found) -> None:
    if found.dtype != described.dtype:
        raise mismatch(graph, f"has {described.name} as {found.dtype}", described.dtype)
    if len(found.shape) != len(described.shape) or not all(
        map(_is_same, found.shape, described.shape)
    ):
        _, _, sizes = describe("", found.shape).partition(" ")
        _, _, wanted = describe("", described.shape).partition(" ")
        raise mismatch(graph, f"has {described.name} as {sizes}", wanted)


def _is_same(found: Dimension | None, described: Dimension) -> bool:
    """A size that the engine leaves open must be a name."""
    return isinstance(described, str) if found is None else found == described


def _joined(tensors: Iterable[str]) -> str:
    return ", ".join(sorted(tensors))
