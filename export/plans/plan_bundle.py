"""A bundle of standard operators becomes a bundle of plans for TensorRT.

In: a bundle of a standard dialect, a library and the GPUs. Out: a bundle with a plan in place of
each graph; all other files are copied. It appears complete or not at all. A bundle that does not
fit is refused before any plan is built.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from commands.errors import UserError
from commands.progress import progress
from export.bundle.writer import bundle_folder, publish_bundle
from export.options import ReadyBundle
from export.plans.inspection import count_products, inspect, refuse_faults
from export.plans.library import Library
from export.plans.network import parse
from export.plans.plans import build_plan, check_profiles, narrow_profiles
from export.plans.precision_plan import plan_precision
from export.plans.targets import Precisions
from formats.files.hashing import sha256_file
from runtime.bundle.loading import Bundle, load_bundle
from runtime.bundle.manifest import GraphSpec, Manifest, PlansSpec, read_manifest
from runtime.bundle.names import (
    BACKBONE,
    CODEC_DECODER,
    MANIFEST_FILE,
    PLAN_SUFFIX,
    STANDARD,
    TENSORRT,
)
from runtime.engines.tensorrt.gpu_targets import GpuTarget
from runtime.engines.tensorrt.plan_check import this_platform

TIMING_CACHE = "timing.cache"


@dataclass(frozen=True)
class PlanBuild:
    """How plans are built. origin: the options that name their checkpoint or bundle."""

    library: Library
    targets: tuple[GpuTarget, ...]
    output: Path
    origin: str = ""


def read_precisions(ready: ReadyBundle) -> Precisions:
    """Read a bundle's precisions from its manifest.

    Raises:
        UserError: not a bundle, or one in another precision than expected.
    """
    graphs = read_manifest(ready.folder).graphs
    if missing := {BACKBONE, CODEC_DECODER} - graphs.keys():
        raise UserError(f"{ready.folder}: has no {min(missing)} graph; export it again")
    found = graphs[BACKBONE].precision
    if ready.precision not in (None, found):
        raise UserError(
            f"--precision {ready.precision}: the graphs of {ready.folder} are {found}; "
            f"leave it out, or export them again with --precision {ready.precision}"
        )
    return Precisions(found, graphs[CODEC_DECODER].precision)


def open_standard(folder: Path) -> Bundle:
    """Load a bundle that plans can be built from.

    Raises:
        UserError: not a bundle, a damaged one, one of another dialect, or an old one.
    """
    bundle = load_bundle(folder)
    engine = bundle.manifest.engine
    if engine.dialect not in STANDARD or engine.plans is not None:
        what = f"plans for {engine.kind}" if engine.plans else f"the {engine.dialect} dialect"
        raise UserError(
            f"{folder}: holds {what}; plans are built from standard operators: export the model "
            "again with --dialect portable, or basic for TensorRT before 10.15"
        )
    for name, spec in bundle.manifest.graphs.items():
        check_profiles(name, spec)
    return bundle


def write_plan_bundle(bundle: Bundle, build: PlanBuild) -> Manifest:
    """Build a plan of every graph of `bundle`; returns the manifest of the new bundle.

    Raises:
        UserError: TensorRT cannot build a graph, or makes something else of it.
        OSError: a full disk, no permission. In all cases `build.output` is as it was.
    """
    graphs = bundle.manifest.graphs
    with bundle_folder(build.output) as folder:
        cache = _old_timing_cache(build)
        plans = {}
        for name in graphs:
            plans[name], cache = _build_graph(bundle, name, build, folder, cache)
        _copy_rest(bundle, graphs.values(), folder)
        if cache is not None:
            (folder / TIMING_CACHE).write_bytes(cache)
        manifest = _describe(bundle, build, plans, has_cache=cache is not None)
        with progress("hash and write to disk"):
            return publish_bundle(folder, manifest, build.output)


def _build_graph(
    bundle: Bundle,
    name: str,
    build: PlanBuild,
    folder: Path,
    cache: bytes | None,
) -> tuple[GraphSpec, bytes | None]:
    """Parse, inspect and build; returns the plan's entry in the manifest, and the timing cache."""
    spec, file = narrow_profiles(bundle.graph(name)), f"{name}{PLAN_SUFFIX}"
    with progress(f"parse and inspect {name}"):
        network = parse(build.library, name, spec, bundle.folder)
        refuse_faults(network, inspect(network, bundle.folder, plan_precision(name, spec)))
    products = ", ".join(f"{count} {kind}" for kind, count in count_products(network).items())
    with progress(f"build {file} (products: {products or 'none'})"):
        cache = build_plan(network, build.targets, folder / file, cache)
    return msgspec.structs.replace(spec, file=file, weights=None), cache


def _old_timing_cache(build: PlanBuild) -> bytes | None:
    """The timing cache of the bundle that is replaced; b"" if there is none, None if unused."""
    if build.library.kind != TENSORRT:
        return None  # TensorRT-RTX times kernels when a plan runs
    try:
        old = load_bundle(build.output)
    except UserError:
        return b""
    plans = old.manifest.engine.plans
    file = plans.timing_cache if plans is not None else None
    return b"" if file is None else old.path(file).read_bytes()


def _copy_rest(bundle: Bundle, graphs: Iterable[GraphSpec], folder: Path) -> None:
    """Copy all files but the graphs: tokenizer, embeddings, voices and any others."""
    replaced = {file for spec in graphs for file in (spec.file, spec.weights)}
    for file in bundle.manifest.files:
        if file not in replaced:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path(file), folder / file)


def _describe(
    bundle: Bundle, build: PlanBuild, graphs: dict[str, GraphSpec], *, has_cache: bool
) -> Manifest:
    library = build.library
    plans = PlansSpec(
        version=library.version,
        compute_capabilities=tuple(target.compute_capability for target in build.targets),
        platform=this_platform() if library.kind == TENSORRT else None,
        precision=bundle.graph(BACKBONE).precision,
        source_sha256=sha256_file(bundle.folder / MANIFEST_FILE),
        source_options=build.origin,
        timing_cache=TIMING_CACHE if has_cache else None,
    )
    return msgspec.structs.replace(
        bundle.manifest,
        engine=msgspec.structs.replace(bundle.manifest.engine, kind=library.kind, plans=plans),
        graphs=graphs,
        built_with=bundle.manifest.built_with | {library.kind: library.version},
    )
