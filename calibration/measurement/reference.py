"""The float32 model that a calibration measures.

In: sources as an export opens them. Out: a bundle without a codec decoder, which speaks the texts,
and graphs whose products are logged. All files are temporary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calibration.measurement.product_log import LoggedProduct, ProductLog
from calibration.measurement.utterances import EmbeddedUtterance, UtteranceMaker, split_utterances
from commands.progress import progress
from export.bundle.manifest import describe_bundle
from export.bundle.tables import write_tables
from export.bundle.voices import write_voices
from export.bundle.writer import publish_bundle
from export.codec.encoder import build_codec_encoder
from export.graph.precisions import GraphNumbers, LinearFormat, StoredAs, WeightFormats
from export.language_model.graphs import language_model_graphs
from export.readers.checkpoint import Checkpoint
from export.sources import Sources
from formats.weights import Weight
from runtime.bundle.loading import Bundle, load_bundle
from runtime.bundle.manifest import DType, GraphSpec
from runtime.bundle.names import CODEC_ENCODER, ORT

DIALECT = ORT


def write_reference(sources: Sources, scratch: Path) -> Bundle:
    """A float32 bundle in the new folder `scratch`/reference."""
    folder = scratch / "writing"
    folder.mkdir()
    checkpoint, codec = sources.checkpoint, sources.codec
    graphs = {
        graph.name: graph.save(folder)
        for graph in language_model_graphs(checkpoint, GraphNumbers(DIALECT))
    }
    graphs[CODEC_ENCODER] = build_codec_encoder(codec, DIALECT).save(folder)
    voices = write_voices(sources.voices, folder, graphs[CODEC_ENCODER])
    write_tables(checkpoint, folder)
    manifest = describe_bundle(checkpoint, codec.config, DIALECT, graphs, voices, ())
    publish_bundle(folder, manifest, scratch / "reference")
    return load_bundle(scratch / "reference")


def make_utterances(
    sources: Sources, texts: Sequence[str], tokens: Path | None, scratch: Path, threads: int
) -> tuple[list[EmbeddedUtterance], list[EmbeddedUtterance]]:
    """Utterances to calibrate on, and held-out ones: what the float32 model says, or `tokens`.

    Raises:
        UserError: too few sentences.
    """
    with progress("write the float32 model"):
        bundle = write_reference(sources, scratch)
    maker = UtteranceMaker(bundle, sources.checkpoint, threads)
    stage, total = ("speak", len(texts)) if tokens is None else (f"read {tokens}", None)
    with progress(stage, total) as under_way:
        utterances = maker.say(texts) if tokens is None else maker.follow(tokens)
        made = list(under_way.track(utterances))
    return split_utterances(made)


class _Always(WeightFormats):
    """One format for all weights, even for those that must be exact."""

    def of(self, weight: Weight, compute: DType, exact: bool) -> LinearFormat:
        return self.usual


def write_observed(checkpoint: Checkpoint, folder: Path) -> tuple[ProductLog, dict[str, GraphSpec]]:
    """Write the float32 graphs that quantized graphs approximate.

    Returns the log of their products, and their entries by name.
    """
    log = ProductLog()
    formats = _Always(LoggedProduct(StoredAs("float32"), log))
    graphs = language_model_graphs(checkpoint, GraphNumbers(DIALECT, "int8", formats))
    return log, {graph.name: graph.save(folder) for graph in graphs}
