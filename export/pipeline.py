"""An export: a checkpoint and a codec become a bundle, or a bundle becomes plans.

In: options. Out: a bundle, checked and complete, or nothing. `build_bundle` calls the other parts
of the package in order: `export.sources` reads, `export.graph_files` writes graphs,
`export.checks` runs them, `export.bundle` adds the rest; `export.native` packs weights instead of
writing graphs. `build_plans` exports graphs if there are
none yet, then `export.plans` builds plans from them. torch is needed only to read pickled `.bin`
files and to compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands.progress import progress
from export.bundle.manifest import describe_bundle
from export.bundle.tables import write_tables
from export.bundle.voices import write_voices
from export.bundle.writer import bundle_folder, publish_bundle
from export.checks.check import (
    check_steps,
    comparison_steps,
    decide_comparison,
    format_checks,
    refuse_failures,
    run_steps,
)
from export.checks.frontend_check import tell_lacking_symbols
from export.checks.writing_check import tell_no_answers
from export.graph_files import write_graphs
from export.native.bundle import build_native_bundle
from export.options import COMPARISON_TAKES, ExportOptions, PlanOptions
from export.plans.library import Library, open_library
from export.plans.plan_bundle import PlanBuild, open_standard, read_precisions, write_plan_bundle
from export.plans.targets import Precisions, choose_rtx_targets, choose_targets
from export.plans.trtexec import trtexec_lines
from export.sources import Sources, read_sources
from formats.calibration.record import read_record
from formats.precisions import FEW_BITS
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import Check, GraphSpec, Manifest
from runtime.bundle.names import (
    BASIC,
    CODEC_ENCODER,
    NATIVE,
    TENSORRT,
    TENSORRT_RTX,
)

COMPARISON = f"compare with PyTorch: {COMPARISON_TAKES}; --no-compare leaves it out"


def build_bundle(options: ExportOptions) -> Manifest:
    """Export to `options.output`, printing progress; returns the manifest that was written.

    Raises:
        UserError: an input does not fit, or a check failed. Nothing is written.
        OSError: a full disk, no permission. Nothing is written.
    """
    if options.numbers.dialect == NATIVE:
        return build_native_bundle(options)
    compare = decide_comparison(options.compare)
    with bundle_folder(options.output) as folder:
        sources = read_sources(options)
        tell_lacking_symbols(sources.checkpoint)
        if options.text_head:
            tell_no_answers(sources.checkpoint)
        graphs = write_graphs(sources, options, folder)
        with progress("voices, tokenizer, embeddings"):
            voices = write_voices(sources.voices, folder, graphs[CODEC_ENCODER])
            write_tables(sources.checkpoint, folder, options.numbers.precision)
        checks = _run_checks(sources, graphs, folder, compare)
        manifest = describe_bundle(
            sources.checkpoint,
            sources.codec.config,
            options.numbers.dialect,
            graphs,
            voices,
            checks,
            options.rows,
        )
        with progress("hash and write to disk"):
            return publish_bundle(folder, manifest, options.output)


def build_plans(options: ExportOptions) -> Manifest:
    """Build plans into `options.output`, printing progress; returns the manifest.

    Raises:
        UserError: options contradict each other, a GPU, library or bundle does not fit, or a plan
            cannot be built. Nothing is written.
    """
    assert options.plans is not None
    targets = choose_targets(options.plans, _find_precisions(options))
    library = open_library(options.plans.target)
    with _standard_bundle(options, library) as bundle:
        build = PlanBuild(library, targets, options.output, options.origin())
        return write_plan_bundle(bundle, build)


def trtexec_commands(plans: PlanOptions) -> list[str]:
    """Commands of NVIDIA's own tool for the plans of a bundle that exists.

    Raises:
        UserError: a GPU or the bundle does not fit.
    """
    assert plans.bundle is not None
    precisions = read_precisions(plans.bundle)
    targets = choose_rtx_targets(plans, precisions) if plans.target == TENSORRT_RTX else ()
    return [*trtexec_lines(open_standard(plans.bundle.folder), plans.target, targets)]


def _run_checks(
    sources: Sources, graphs: dict[str, GraphSpec], folder: Path, compare: bool
) -> tuple[Check, ...]:
    made_from = folder, graphs, sources.checkpoint, sources.codec
    checks = run_steps(check_steps(*made_from))
    if compare:
        print(COMPARISON)
        checks += run_steps(comparison_steps(*made_from))
    print(format_checks(checks), flush=True)
    if not compare:
        print("  not compared with PyTorch: --compare does it")
    calibrated = any(graph.precision in FEW_BITS for graph in graphs.values())
    refuse_failures(checks, calibrated=calibrated)
    return tuple(checks)


def _find_precisions(options: ExportOptions) -> Precisions:
    """The precisions of the plans. At most one small file is read."""
    assert options.plans is not None
    if options.plans.bundle is not None:
        return read_precisions(options.plans.bundle)
    scales = options.numbers.codec_calibration
    codec = "fp32" if scales is None else read_record(scales).precision
    return Precisions(options.numbers.precision, codec)


@contextmanager
def _standard_bundle(options: ExportOptions, library: Library) -> Iterator[Bundle]:
    """The bundle that plans are made from. One that was exported for them is removed at the end."""
    assert options.plans is not None
    if options.plans.bundle is not None:
        bundle = open_standard(options.plans.bundle.folder)
        library.check_dialect(str(bundle.folder), bundle.manifest.engine.dialect)
        yield bundle
        return
    dialect = _choose_dialect(options.plans, library)
    with bundle_folder(options.output) as folder:
        exported = options.graphs(folder / dialect, dialect)
        build_bundle(exported)
        yield open_standard(exported.output)


def _choose_dialect(plans: PlanOptions, library: Library) -> str:
    """The dialect that was asked for, or what the library reads best, which is then told."""
    if plans.dialect is not None:
        library.check_dialect(f"--dialect {plans.dialect}", plans.dialect)
        return plans.dialect
    if library.kind == TENSORRT or library.dialect == BASIC:
        print(f"graphs in the {library.dialect} dialect: {library.why_dialect}", flush=True)
    return library.dialect
