"""A portable bundle becomes an engine directory for TensorRT.

In: a portable bundle, which library, which GPUs. Out: a directory with a plan in place of each
graph, and everything else as it was: complete, or not there. What does not fit is refused before
any plan is built.
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
from export.plans.inspection import count_products, inspect, refuse_faults
from export.plans.library import Library
from export.plans.network import parse
from export.plans.plans import build_plan, check_profiles, narrow_profiles
from export.plans.precision_plan import plan_precision
from formats.files.hashing import sha256_file
from runtime.bundle.loading import Bundle, load_bundle
from runtime.bundle.manifest import EngineSpec, GraphSpec, Manifest, PlansSpec
from runtime.bundle.names import BACKBONE, MANIFEST_FILE, PLAN_SUFFIX, TENSORRT
from runtime.engines.tensorrt.gpu_targets import GpuTarget
from runtime.engines.tensorrt.plan_check import this_platform

PORTABLE = "portable"
TIMING_CACHE = "timing.cache"


@dataclass(frozen=True)
class EngineOptions:
    """What to build. source_options: how the user named what it is made from."""

    library: Library
    targets: tuple[GpuTarget, ...]
    output: Path
    source_options: str = ""


def open_portable(folder: Path) -> Bundle:
    """Load a bundle that plans can be built from.

    Raises:
        UserError: not a bundle, a damaged one, one of another dialect, or an old one.
    """
    bundle = load_bundle(folder)
    engine = bundle.manifest.engine
    if engine.dialect != PORTABLE or engine.plans is not None:
        what = f"plans for {engine.kind}" if engine.plans else f"the {engine.dialect} dialect"
        raise UserError(
            f"{folder}: holds {what}; plans are built from standard operators: export the model "
            "again with --dialect portable"
        )
    for name, spec in bundle.manifest.graphs.items():
        check_profiles(name, spec)
    return bundle


def precision_of(bundle: Bundle) -> str:
    """The number format that a bundle is called after: that of its backbone's weights."""
    return bundle.graph(BACKBONE).precision


def build_engine(bundle: Bundle, options: EngineOptions) -> Manifest:
    """Build a plan of every graph of `bundle`; returns the manifest of the new directory.

    Raises:
        UserError: TensorRT cannot build a graph, or makes something else of it.
        OSError: a full disk, no permission. In all cases `options.output` is as it was.
    """
    graphs = bundle.manifest.graphs
    with bundle_folder(options.output) as folder:
        cache = _old_timing_cache(options)
        plans = {}
        for name in graphs:
            plans[name], cache = _build_graph(bundle, name, options, folder, cache)
        _copy_rest(bundle, graphs.values(), folder)
        if cache is not None:
            (folder / TIMING_CACHE).write_bytes(cache)
        manifest = _describe(bundle, options, plans, has_cache=cache is not None)
        with progress("hash and write to disk"):
            return publish_bundle(folder, manifest, options.output)


def _build_graph(
    bundle: Bundle,
    name: str,
    options: EngineOptions,
    folder: Path,
    cache: bytes | None,
) -> tuple[GraphSpec, bytes | None]:
    """Parse, inspect, build; the graph's new entry in the manifest, and the timing cache."""
    spec, file = narrow_profiles(bundle.graph(name)), f"{name}{PLAN_SUFFIX}"
    with progress(f"parse and inspect {name}"):
        network = parse(options.library, name, spec, bundle.folder)
        refuse_faults(network, inspect(network, bundle.folder, plan_precision(name, spec)))
    products = ", ".join(f"{count} {kind}" for kind, count in count_products(network).items())
    with progress(f"build {file} (products: {products or 'none'})"):
        cache = build_plan(network, options.targets, folder / file, cache)
    return msgspec.structs.replace(spec, file=file, weights=None), cache


def _old_timing_cache(options: EngineOptions) -> bytes | None:
    """What the engine that is being replaced has learned about this GPU; b"" for nothing."""
    if options.library.kind != TENSORRT:
        return None  # TensorRT-RTX times kernels when it runs
    try:
        old = load_bundle(options.output)
    except UserError:
        return b""
    plans = old.manifest.engine.plans
    file = plans.timing_cache if plans is not None else None
    return b"" if file is None else old.path(file).read_bytes()


def _copy_rest(bundle: Bundle, graphs: Iterable[GraphSpec], folder: Path) -> None:
    """Everything but the graphs: tokenizer, embeddings, voices, what else there may be."""
    replaced = {file for spec in graphs for file in (spec.file, spec.weights)}
    for file in bundle.manifest.files:
        if file not in replaced:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path(file), folder / file)


def _describe(
    bundle: Bundle, options: EngineOptions, graphs: dict[str, GraphSpec], *, has_cache: bool
) -> Manifest:
    library = options.library
    plans = PlansSpec(
        version=library.version,
        compute_capabilities=tuple(target.compute_capability for target in options.targets),
        platform=this_platform() if library.kind == TENSORRT else None,
        precision=precision_of(bundle),
        source_sha256=sha256_file(bundle.folder / MANIFEST_FILE),
        source_options=options.source_options,
        timing_cache=TIMING_CACHE if has_cache else None,
    )
    return msgspec.structs.replace(
        bundle.manifest,
        engine=EngineSpec(library.kind, PORTABLE, rows=bundle.manifest.engine.rows, plans=plans),
        graphs=graphs,
        built_with=bundle.manifest.built_with | {library.kind: library.version},
    )
