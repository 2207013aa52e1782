"""A bundle for the native engine: a checkpoint and a codec become packed weights.

In: options. Out: a bundle, checked and complete, or nothing. The graphs that ONNX Runtime would run
are written into a temporary folder, because the engine must compute what they compute.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import msgspec

from commands.errors import UserError
from commands.progress import progress
from export.bundle.manifest import describe_bundle, describe_language_model
from export.bundle.tables import write_tables
from export.bundle.voices import write_voices
from export.bundle.writer import bundle_folder, publish_bundle, write_manifest
from export.checks.frontend_check import tell_lacking_symbols
from export.checks.writing_check import tell_no_answers
from export.graph_files import open_scales
from export.native.comparison import compare, require_library, write_reference
from export.native.graphs import describe_graphs, name_graphs
from export.native.weight_file import Tensor, write_weights
from export.native.weights import Formats, write_packed
from export.options import ExportOptions, Numbers
from export.sources import Sources, read_sources
from formats.calibration.reader import open_calibration
from formats.precisions import NATIVE_CODEC_PRECISIONS, NATIVE_PRECISIONS
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import Manifest
from runtime.bundle.names import CODEC_ENCODER, NATIVE, PACKED_WEIGHTS, STORED_PREFIXES
from runtime.engines.native.model import NativeModel


def build_native_bundle(options: ExportOptions) -> Manifest:
    """Export to `options.output`, printing progress; returns the manifest that was written.

    Raises:
        UserError: an input does not fit, a check failed, or the library that checks need is not
            there. Nothing is written.
        OSError: a full disk, no permission. Nothing is written.
    """
    _check_precisions(options.numbers)
    if options.compare is not False:
        require_library()
    with (
        bundle_folder(options.output) as folder,
        tempfile.TemporaryDirectory(prefix="graphs-") as graph_folder,
    ):
        sources = read_sources(options)
        formats = _open_formats(sources, options)
        tell_lacking_symbols(sources.checkpoint)
        if options.text_head:
            tell_no_answers(sources.checkpoint)
        manifest = _write_parts(folder, Path(graph_folder), sources, options, formats)
        with progress("hash and write to disk"):
            return publish_bundle(folder, manifest, options.output)


def _write_parts(
    folder: Path, graph_folder: Path, sources: Sources, options: ExportOptions, formats: Formats
) -> Manifest:
    """Everything that goes into the bundle; returns its manifest, with checks."""
    checkpoint, codec, text_head = sources.checkpoint, sources.codec, options.text_head
    with progress("pack weights"):
        path = folder / PACKED_WEIGHTS
        write_packed(
            path,
            checkpoint,
            codec,
            formats,
            with_text_head=text_head,
            voices=len(sources.voices),
        )
    graphs = write_reference(sources, options, formats, graph_folder)
    with progress("voices, tokenizer, embeddings"):
        voices = write_voices(sources.voices, folder, graphs[CODEC_ENCODER], graph_folder)
        write_tables(checkpoint, folder, formats.precision)
    manifest = write_manifest(folder, _describe(sources, options, formats, voices))
    if options.compare is False:
        print("  not compared with ONNX Runtime: --compare does it")
        return manifest
    checks = compare(folder, manifest, sources, graphs, graph_folder)
    _store_prefixes(folder, manifest)
    return msgspec.structs.replace(manifest, checks=checks)


def _store_prefixes(folder: Path, manifest: Manifest) -> None:
    """Write what prompts begin with, as the engine has read it: nobody computes it again."""
    states = NativeModel(Bundle(folder, manifest), None).read_prefixes()
    tensors = [
        Tensor(f"prefix.{number}", "U8", state.shape, partial(list, [state]))
        for number, state in enumerate(states)
    ]
    if tensors:
        write_weights(folder / STORED_PREFIXES, tensors, {})


def _check_precisions(numbers: Numbers) -> None:
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
    return Formats(numbers.precision, scales, numbers.codec_precision, codec_scales, numbers.cache)


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
