"""The ONNX graphs that a native bundle must equal.

In: the sources and the number formats of a native bundle. Out: graphs in a folder. Products in few
bits are those of the ort dialect, from the same calibration. Convolutions in int8 exist in the
portable dialect only. bf16 is compared with float32, because ONNX Runtime has no bf16 on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from commands.progress import progress
from export.codec.encoder import build_codec_encoder
from export.graph.model_graph import ModelGraph
from export.graph_files import build_decoder, build_language_model
from export.native.weights import Formats
from export.options import ExportOptions, Numbers
from export.sources import Sources
from runtime.bundle.manifest import GraphSpec
from runtime.bundle.names import ORT, PORTABLE


def write_reference(
    sources: Sources, options: ExportOptions, formats: Formats, folder: Path
) -> dict[str, GraphSpec]:
    """Build and save all graphs; returns their entries by name."""
    graphs = {}
    with progress("write ONNX graphs to compare with"):
        for graph in _build_graphs(sources, options, formats):
            graphs[graph.name] = graph.save(folder, options.rows)
    return graphs


def _build_graphs(
    sources: Sources, options: ExportOptions, formats: Formats
) -> Iterator[ModelGraph]:
    precision = "fp32" if formats.precision == "bf16" else formats.precision
    numbers = Numbers(precision=precision, dialect=ORT)
    yield from build_language_model(sources, replace(options, numbers=numbers), formats.calibration)
    is_float = formats.codec_calibration is None
    decoder = Numbers(dialect=ORT if is_float else PORTABLE)
    yield build_decoder(sources.codec, decoder, formats.codec_calibration)
    yield build_codec_encoder(sources.codec, ORT)
