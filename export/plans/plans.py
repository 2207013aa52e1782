"""A parsed network becomes a plan.

In: a network that has passed inspection, its GPUs, and the ranges of its dimensions. Out: a file
with the plan. It has one optimization profile for each way of calling the graph, in the order of
the manifest, because the runtime selects profiles by index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from commands.errors import UserError
from export.plans.network import Network
from runtime.bundle.manifest import GraphSpec, Range, TensorSpec
from runtime.bundle.names import ROWS, STEP, TENSORRT
from runtime.engines.tensorrt.gpu_targets import GpuTarget

Shape = tuple[int, ...]


def profile_shapes(
    spec: GraphSpec, ranges: Mapping[str, Range]
) -> dict[str, tuple[Shape, Shape, Shape]]:
    """Least, usual and greatest shape of every input with a dimension that a run chooses."""
    chosen = [tensor for tensor in spec.inputs if any(isinstance(s, str) for s in tensor.shape)]
    return {tensor.name: _shapes(tensor, ranges) for tensor in chosen}


def _shapes(tensor: TensorSpec, ranges: Mapping[str, Range]) -> tuple[Shape, Shape, Shape]:
    sizes = [
        Range(size, size, size) if isinstance(size, int) else ranges[size] for size in tensor.shape
    ]
    least, usual, greatest = zip(*((size.min, size.opt, size.max) for size in sizes), strict=True)
    return least, usual, greatest


def narrow_profiles(spec: GraphSpec) -> GraphSpec:
    """The graph with the profiles that the runtime needs.

    The runtime takes steps of several rows at once, but prompts, voices and chunks of audio row by
    row. Plans therefore need memory for one row of these.
    """
    one = {ROWS: Range(1, 1, 1)}
    profiles = {
        kind: ranges if kind == STEP else ranges | (one if ROWS in ranges else {})
        for kind, ranges in spec.profiles.items()
    }
    return msgspec.structs.replace(spec, profiles=profiles)


def check_profiles(name: str, spec: GraphSpec) -> None:
    """Raise `UserError` if a dimension has no range, which older versions left out."""
    named = {size for tensor in spec.inputs for size in tensor.shape if isinstance(size, str)}
    for ranges in spec.profiles.values() or ({},):
        for dimension in sorted(named - ranges.keys()):
            raise UserError(
                f"{name}: the bundle gives no range for its {dimension}; export it again with "
                "the same --dialect"
            )


def build_plan(
    network: Network,
    targets: Sequence[GpuTarget],
    path: Path,
    timing_cache: bytes | None = None,
) -> bytes | None:
    """Write the plan to `path`; returns the new content of the timing cache, if one was given.

    Raises:
        UserError: the library cannot build it for these GPUs.
    """
    library = network.library
    library.messages.clear()
    config = library.new_config(network.builder, targets)
    if STEP in network.spec.profiles and library.kind != TENSORRT:
        # The runtime captures steps into CUDA graphs, which may not allocate while they run.
        config.set_flag(library.module.BuilderFlag.REQUIRE_USER_ALLOCATION)
    for ranges in network.spec.profiles.values():
        config.add_optimization_profile(_new_profile(network, ranges))
    cache = None if timing_cache is None else config.create_timing_cache(timing_cache)
    if cache is not None and not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")  # it is of another GPU
        config.set_timing_cache(cache, False)
    plan = network.builder.build_serialized_network(network.raw, config)
    if plan is None:
        raise UserError(f"{network.name}: {library.title} cannot build it: {library.last_error()}")
    with path.open("wb") as file:
        file.write(memoryview(plan))
    return None if cache is None else bytes(memoryview(cache.serialize()))


def _new_profile(network: Network, ranges: Mapping[str, Range]) -> Any:
    profile = network.builder.create_optimization_profile()
    for name, shapes in profile_shapes(network.spec, ranges).items():
        profile.set_shape(name, *shapes)
    return profile
