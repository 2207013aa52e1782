"""What a native bundle is compared with before it is published: ONNX graphs of the same numbers.

In: the sources and the number formats of a native bundle, then the bundle. Out: graphs in a folder,
and `Check`s. Products in few bits are those of the ort dialect, from the same calibration.
Convolutions in int8 exist in the standard dialects only. bf16 is compared with float32, because
ONNX Runtime has no bf16 on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from commands.errors import UserError
from commands.progress import progress
from export.checks.check import Step, format_checks, refuse_failures, run_steps
from export.checks.native_codec import compare_codec
from export.checks.native_engine import NativeEngine
from export.checks.native_lm import Reference, compare_language_model
from export.codec.encoder import build_codec_encoder
from export.graph.model_graph import ModelGraph
from export.graph_files import build_decoder, build_language_model
from export.native.weights import Formats
from export.options import ExportOptions, Numbers
from export.sources import Sources
from formats.precisions import FEW_BITS
from runtime.bundle.manifest import Check, GraphSpec, Manifest
from runtime.bundle.names import BASIC, ORT
from runtime.engines.native.library import load_library


def require_library() -> None:
    """Raise `UserError` if the engine cannot run here."""
    try:
        load_library()
    except UserError as error:
        raise UserError(
            f"what a native bundle computes is compared with ONNX Runtime: {error} "
            "(or --no-compare)"
        ) from None


def write_reference(
    sources: Sources, options: ExportOptions, formats: Formats, folder: Path
) -> dict[str, GraphSpec]:
    """Build and save all graphs; returns their entries by name.

    Without a comparison there is the encoder only, which voices are made with.
    """
    graphs = {}
    with progress("write ONNX graphs to compare with"):
        for graph in _build_graphs(sources, options, formats):
            graphs[graph.name] = graph.save(folder, options.rows)
    return graphs


def compare(
    folder: Path,
    manifest: Manifest,
    sources: Sources,
    graphs: Mapping[str, GraphSpec],
    graph_folder: Path,
) -> tuple[Check, ...]:
    """Compare the bundle in `folder` with the graphs, and print the figures.

    Raises:
        UserError: the engine does not compute what the graphs compute.
    """
    engine = NativeEngine(folder, manifest)
    reference = Reference(sources.checkpoint, graph_folder, graphs)
    config = sources.codec.config
    steps: dict[str, Step] = {
        "compare language model": lambda: compare_language_model(engine, reference),
        "compare codec": lambda: compare_codec(engine, graph_folder, graphs, config),
    }
    checks = run_steps(steps)
    print(format_checks(checks), flush=True)
    calibrated = any(graph.precision in FEW_BITS for graph in manifest.graphs.values())
    refuse_failures(checks, calibrated=calibrated)
    return tuple(checks)


def _build_graphs(
    sources: Sources, options: ExportOptions, formats: Formats
) -> Iterator[ModelGraph]:
    yield build_codec_encoder(sources.codec, ORT)
    if options.compare is False:
        return
    precision = "fp32" if formats.precision == "bf16" else formats.precision
    numbers = Numbers(precision=precision, dialect=ORT)
    yield from build_language_model(sources, replace(options, numbers=numbers), formats.calibration)
    is_float = formats.codec_calibration is None
    decoder = Numbers(dialect=ORT if is_float else BASIC)
    yield build_decoder(sources.codec, decoder, formats.codec_calibration)
