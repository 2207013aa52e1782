"""A bundle for the native engine: a checkpoint and a codec become packed weights.

In: options. Out: a bundle, checked and complete, or nothing. The graphs that ONNX Runtime would run
are written into a temporary folder; the engine must compute what they compute.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from commands.errors import UserError
from commands.progress import progress
from export.bundle.manifest import describe_bundle, describe_language_model
from export.bundle.tables import write_tables
from export.bundle.voices import write_voices
from export.bundle.writer import bundle_folder, publish_bundle, write_manifest
from export.checks.check import Step, format_checks, refuse_failures, run_steps
from export.checks.frontend_check import tell_lacking_symbols
from export.checks.native_codec import compare_codec
from export.checks.native_engine import NativeEngine
from export.checks.native_lm import Reference, compare_language_model
from export.checks.writing_check import tell_no_answers
from export.graph_files import open_scales
from export.native.graphs import describe_graphs, name_graphs
from export.native.reference import write_reference
from export.native.weights import Formats, write_packed
from export.options import ExportOptions
from export.sources import Sources, read_sources
from formats.calibration.reader import open_calibration
from formats.checkpoint.codec_config import CodecConfig
from formats.precisions import FEW_BITS, NATIVE_CODEC_PRECISIONS, NATIVE_PRECISIONS
from runtime.bundle.manifest import Check, Manifest
from runtime.bundle.names import CODEC_ENCODER, NATIVE, PACKED_WEIGHTS


def build_native_bundle(options: ExportOptions) -> Manifest:
    """Export to `options.output`, printing progress; returns the manifest that was written.

    Raises:
        UserError: an input does not fit, or a check failed. Nothing is written.
        OSError: a full disk, no permission. Nothing is written.
    """
    _check_precisions(options)
    with (
        bundle_folder(options.output) as folder,
        tempfile.TemporaryDirectory(prefix="reference-") as scratch,
    ):
        sources = read_sources(options)
        formats = _open_formats(sources, options)
        tell_lacking_symbols(sources.checkpoint)
        if options.text_head:
            tell_no_answers(sources.checkpoint)
        with progress("pack weights"):
            write_packed(
                folder / PACKED_WEIGHTS,
                sources.checkpoint,
                sources.codec,
                formats,
                with_text_head=options.text_head,
            )
        graphs = write_reference(sources, options, formats, Path(scratch))
        with progress("voices, tokenizer, embeddings"):
            voices = write_voices(sources.voices, folder, graphs[CODEC_ENCODER], Path(scratch))
            write_tables(sources.checkpoint, folder, formats.precision)
        manifest = write_manifest(folder, _describe(sources, options, formats, voices))
        if options.compare is not False:
            reference = Reference(sources.checkpoint, Path(scratch), graphs)
            checks = _compare(folder, manifest, reference, sources.codec.config)
            manifest = msgspec.structs.replace(manifest, checks=checks)
        else:
            print("  not compared with ONNX Runtime: --compare does it")
        with progress("hash and write to disk"):
            return publish_bundle(folder, manifest, options.output)


def _check_precisions(options: ExportOptions) -> None:
    numbers = options.numbers
    for option, precision, known in (
        ("--precision", numbers.precision, NATIVE_PRECISIONS),
        ("--codec-precision", numbers.codec_precision, NATIVE_CODEC_PRECISIONS),
    ):
        if precision not in known:
            raise UserError(f"{option} {precision}: the native engine has {', '.join(known)}")
    if (numbers.codec_precision == "int8") != (numbers.codec_calibration is not None):
        raise UserError(
            "--codec-precision int8 and --codec-calibration DIR go together; make scales with: "
            "python -m calibration.codec --precision int8 --texts samples/calibration.txt "
            "--output codec-scales"
        )


def _open_formats(sources: Sources, options: ExportOptions) -> Formats:
    numbers = options.numbers
    codec_scales = None
    if numbers.codec_calibration is not None:
        codec_scales = open_calibration(
            numbers.codec_calibration, sources.codec.folder, numbers.codec_precision
        )
    scales = open_scales(sources, numbers, options.source)
    return Formats(numbers.precision, scales, numbers.codec_precision, codec_scales)


def _compare(
    folder: Path, manifest: Manifest, reference: Reference, config: CodecConfig
) -> tuple[Check, ...]:
    """Raises `UserError`: no library, or the engine does not compute what the graphs do."""
    engine = NativeEngine(folder, manifest)
    steps: dict[str, Step] = {
        "compare language model": lambda: compare_language_model(engine, reference),
        "compare codec": lambda: compare_codec(engine, reference.folder, reference.graphs, config),
    }
    checks = run_steps(steps)
    print(format_checks(checks), flush=True)
    calibrated = any(graph.precision in FEW_BITS for graph in manifest.graphs.values())
    refuse_failures(checks, calibrated=calibrated)
    return tuple(checks)


def _describe(
    sources: Sources, options: ExportOptions, formats: Formats, voices: dict[str, str]
) -> Manifest:
    graphs = name_graphs(
        describe_language_model(sources.checkpoint.config),
        formats.precision,
        formats.codec_precision,
        with_text_head=options.text_head,
    )
    manifest = describe_bundle(
        sources.checkpoint,
        sources.codec.config,
        NATIVE,
        graphs,
        voices,
        checks=(),
        rows=options.rows,
    )
    return describe_graphs(manifest)
