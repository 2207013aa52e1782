"""All graphs of a bundle, built and saved.

In: sources and options. Out: graph files in a folder, and their entries for the manifest. Graphs
are built and saved one after another, so that only one is in memory. With a calibration, weights
get the formats of `export.quantization`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from commands.errors import UserError
from commands.progress import progress
from export.bundle.next_command import calibration_command
from export.codec.decoder import build_codec_decoder, check_activation
from export.codec.encoder import build_codec_encoder
from export.graph.model_graph import ModelGraph
from export.graph.precisions import GraphNumbers
from export.language_model.graphs import language_model_graphs
from export.options import ExportOptions, Numbers, Source
from export.quantization.convolutions import quantized_convolutions
from export.quantization.products import quantized_formats, require_known
from export.readers.codec_checkpoint import CodecCheckpoint
from export.sources import Sources
from formats.calibration.reader import Calibration, open_calibration
from formats.precisions import CODEC_FEW_BITS, FEW_BITS
from runtime.bundle.manifest import GraphSpec
from runtime.bundle.names import STANDARD


def write_graphs(sources: Sources, options: ExportOptions, folder: Path) -> dict[str, GraphSpec]:
    """Build and save all graphs; returns their entries by name.

    Raises:
        UserError: a calibration is missing, damaged or for another model, or the dialect lacks the
            precision.
    """
    graphs = {}
    for graph in _build_graphs(sources, options):
        with progress(f"write {graph.name}"):
            graphs[graph.name] = graph.save(folder, options.rows)
    return graphs


def _build_graphs(sources: Sources, options: ExportOptions) -> Iterator[ModelGraph]:
    numbers = options.numbers
    check_activation(sources.codec.config, numbers.dialect, numbers.codec_activation)
    calibration = open_scales(sources, numbers, options.source)
    codec_calibration = _open_codec_calibration(sources.codec, numbers)
    yield from build_language_model(sources, options, calibration)
    yield build_decoder(sources.codec, numbers, codec_calibration)
    yield build_codec_encoder(sources.codec, numbers.dialect)


def build_language_model(
    sources: Sources, options: ExportOptions, calibration: Calibration | None
) -> Iterator[ModelGraph]:
    """The language model's graphs, with the scales of a calibration if there is one."""
    numbers = options.numbers
    products: dict[str, tuple[int, ...]] = {}
    formats = quantized_formats(calibration.weights, numbers.dialect) if calibration else None
    for graph in language_model_graphs(
        sources.checkpoint,
        GraphNumbers(numbers.dialect, numbers.precision, formats),
        with_text_head=options.text_head,
    ):
        products |= graph.products
        yield graph
    if calibration:
        require_known(calibration, products)


def build_decoder(
    codec: CodecCheckpoint, numbers: Numbers, calibration: Calibration | None
) -> ModelGraph:
    """The codec's decoder, in the precision of its own calibration."""
    dialect, activation = numbers.dialect, numbers.codec_activation
    if calibration is None:
        return build_codec_decoder(codec, dialect, activation=activation)
    graph = build_codec_decoder(
        codec,
        dialect,
        calibration.record.precision,
        activation,
        quantized_convolutions(calibration.weights),
    )
    require_known(calibration, graph.products)
    return graph


def open_scales(sources: Sources, numbers: Numbers, source: Source) -> Calibration | None:
    """The scales of the language model, or None for floats. source: for the error message."""
    precision, folder = numbers.precision, numbers.calibration
    if precision in FEW_BITS:
        if folder is None:
            raise UserError(
                f"--precision {precision} needs --calibration DIR; make one with: "
                f"{calibration_command(precision, source)}"
            )
        return open_calibration(folder, sources.checkpoint.folder, precision)
    if folder is not None:
        raise UserError(f"--calibration has no use at --precision {precision}; leave it out")
    return None


def _open_codec_calibration(codec: CodecCheckpoint, numbers: Numbers) -> Calibration | None:
    """The scales of the codec's decoder, or None for floats."""
    if numbers.codec_calibration is None:
        return None
    if numbers.dialect not in STANDARD:
        raise UserError(
            f"--codec-calibration needs graphs of standard operators, not the "
            f"{numbers.dialect} dialect: add --dialect portable"
        )
    return open_calibration(numbers.codec_calibration, codec.folder, *CODEC_FEW_BITS)
