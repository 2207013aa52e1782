"""The float32 model that calibration measures: it speaks, and its layers are looked into.

In: sources as an export opens them. Out: a bundle without a decoder, to generate with; and
graphs with one recorder for all products. Nothing here is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calibration.measurement.statistics import Recorder
from calibration.measurement.utterances import Speaker, Utterance, split_utterances
from commands.progress import progress
from export.bundle.manifest import describe_bundle
from export.bundle.tables import write_tables
from export.bundle.voices import write_voices
from export.bundle.writer import publish_bundle
from export.codec.encoder import build_codec_encoder
from export.graph.dialects import OrtGraph
from export.graph.precisions import LinearFormat, StoredAs, WeightFormats
from export.language_model.graphs import language_model_graphs
from export.readers.checkpoint import Checkpoint
from export.sources import Sources
from formats.weights import Weight
from runtime.bundle.loading import Bundle, load_bundle
from runtime.bundle.manifest import DType, GraphSpec
from runtime.bundle.names import CODEC_ENCODER

DIALECT = OrtGraph.dialect


def write_reference(sources: Sources, scratch: Path) -> Bundle:
    """A float32 bundle in the new folder `scratch`/reference."""
    folder = scratch / "writing"
    folder.mkdir()
    checkpoint, codec = sources.checkpoint, sources.codec
    graphs = {
        graph.name: graph.save(folder) for graph in language_model_graphs(checkpoint, DIALECT)
    }
    graphs[CODEC_ENCODER] = build_codec_encoder(codec, DIALECT).save(folder)
    voices = write_voices(sources.voices, folder, graphs[CODEC_ENCODER])
    write_tables(checkpoint, folder)
    manifest = describe_bundle(checkpoint, codec.config, DIALECT, graphs, voices, ())
    publish_bundle(folder, manifest, scratch / "reference")
    return load_bundle(scratch / "reference")


def make_utterances(
    sources: Sources, texts: Sequence[str], tokens: Path | None, scratch: Path, threads: int
) -> tuple[list[Utterance], list[Utterance]]:
    """What the float32 model says, or is led through where there are tokens: (to calibrate on,
    held out). Raises `UserError` if that is too little."""
    with progress("write the float32 model"):
        bundle = write_reference(sources, scratch)
    speaker = Speaker(bundle, sources.checkpoint, threads)
    stage, total = ("speak", len(texts)) if tokens is None else (f"read {tokens}", None)
    with progress(stage, total) as under_way:
        utterances = speaker.say(texts) if tokens is None else speaker.follow(tokens)
        made = list(under_way.track(utterances))
    return split_utterances(made)


class _Always(WeightFormats):
    """One format for all weights, those that are to be exact included."""

    def of(self, weight: Weight, compute: DType, exact: bool) -> LinearFormat:
        return self.usual


def write_recorded(checkpoint: Checkpoint, folder: Path) -> tuple[Recorder, dict[str, GraphSpec]]:
    """The graphs that compute what quantized ones approximate, and what their products are."""
    recorder = Recorder(StoredAs("float32"))
    graphs = language_model_graphs(checkpoint, DIALECT, "int8", _Always(recorder))
    return recorder, {graph.name: graph.save(folder) for graph in graphs}
