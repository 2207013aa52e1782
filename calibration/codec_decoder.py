"""A codec's decoder as a subject of calibration: its convolutions, between frames and audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from calibration.measurement.decoding import follow_decoder
from calibration.measurement.fidelity import AudioFidelity, compare_audio
from calibration.measurement.following import Follow, Loading, Watch
from calibration.measurement.product_log import LoggedConvolution, ProductLog
from calibration.measurement.statistics import ConvolutionStatistics
from calibration.measurement.utterances import EmbeddedUtterance
from calibration.methods.quantize import Recipe
from calibration.sensitivity import Sensitivity, Weights
from commands.errors import UserError
from export.codec.decoder import build_codec_decoder
from export.graph.model_graph import ModelGraph
from export.graph.runner import GraphRunner
from export.quantization.convolutions import ConvolutionFormats, quantized_convolutions
from export.readers.codec_checkpoint import CodecCheckpoint
from export.sources import Sources
from formats.precisions import FormatName
from formats.weights import Array
from runtime.bundle.names import PORTABLE


@dataclass(frozen=True)
class CodecDecoder:
    """Raises `UserError` if the sources have no voice, which the decoder needs to speak."""

    sources: Sources
    parts: ClassVar[str] = "convolutions"

    def __post_init__(self) -> None:
        if not self.sources.voices:
            raise UserError("a codec is calibrated while it speaks with voices; give --voice")

    @property
    def codec(self) -> CodecCheckpoint:
        return self.sources.codec

    @property
    def folder(self) -> Path:
        return self.codec.folder

    def load_observed(
        self, loading: Loading, recipe: Recipe
    ) -> tuple[Follow, ConvolutionStatistics]:
        log = ProductLog()
        formats = ConvolutionFormats(LoggedConvolution(log))
        graph = build_codec_decoder(self.codec, PORTABLE, formats=formats)
        watched = [*log.values_by_weight().values()]
        return self._load(graph, loading, watched), ConvolutionStatistics(log)

    def load_candidate(self, loading: Loading, precision: FormatName, weights: Weights) -> Follow:
        formats = quantized_convolutions(weights)
        graph = build_codec_decoder(self.codec, PORTABLE, precision, formats=formats)
        return self._load(graph, loading)

    def compare(self, reference: Sequence[Array], found: Sequence[Array]) -> AudioFidelity:
        return compare_audio(reference, found)

    def count_positions(self, utterance: EmbeddedUtterance) -> int:
        return len(utterance.frames)

    def write_report(
        self, folder: Path, sensitivity: Sensitivity[AudioFidelity], excluded: Sequence[str]
    ) -> None:
        """Writes nothing: the record already names the excluded convolutions and the reasons."""

    def _load(self, graph: ModelGraph, loading: Loading, watched: Sequence[str] = ()) -> Follow:
        spec = graph.save(loading.folder)
        decoder = GraphRunner(loading.folder, spec, threads=loading.threads, watched=watched)
        delay = self.codec.config.delay_frames

        def follow(utterance: EmbeddedUtterance, watch: Watch | None = None) -> Array:
            return follow_decoder(decoder, utterance, delay, watch)

        return follow
