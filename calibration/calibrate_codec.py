"""From a codec and frames to a calibration directory for its decoder.

In: sources, a recipe, texts or tokens. Out: the directory that `export.build --codec-calibration`
takes, with scales for every convolution of the decoder, or with some of them left out so that
the audio keeps a signal-to-noise ratio.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from calibration.measurement.decoding import follow_decoder, signal_to_noise_db
from calibration.measurement.reference import make_utterances
from calibration.measurement.statistics import InputStatistics
from calibration.measurement.utterances import Utterance
from calibration.methods.quantize import Recipe, quantize_weight
from calibration.sensitivity import choose_excluded
from commands.errors import UserError
from commands.progress import Track, progress
from export.codec.decoder import build_codec_decoder
from export.graph.graph import Graph
from export.graph.runner import Arrays, GraphRunner
from export.graph.writer import Value
from export.quantization.convolutions import ConvolutionFormats, as_rows, quantized_convolutions
from export.readers.codec_checkpoint import CodecCheckpoint
from export.sources import Sources
from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.record import SCHEMA_VERSION, CalibrationRecord, MethodRecord, hash_model
from formats.calibration.writer import describe_weight, new_folder, write_calibration
from formats.number_formats import FormatName
from formats.weights import Array, Weight

DIALECT = "portable"


@dataclass(frozen=True)
class CodecOptions:
    """texts: sentences to be spoken. tokens: recorded frames instead. snr_db: what the audio of
    held-out sentences must keep; convolutions stay floats for it."""

    recipe: Recipe
    output: Path
    texts: Sequence[str] = ()
    tokens: Path | None = None
    snr_db: float | None = None
    threads: int = 1


@dataclass(frozen=True)
class _Recorder:
    """A format for all convolutions that notes their weights and the values they are given."""

    inputs: dict[str, Value] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)

    def operands(self, graph: Graph, x: Value, weight: Weight) -> tuple[Value, Value]:
        self.inputs[weight.name], self.weights[weight.name] = x, weight
        return x, graph.weight(weight)


def calibrate_codec(sources: Sources, options: CodecOptions) -> CalibrationRecord:
    """Calibrate, and write `options.output`, printing progress.

    Raises:
        UserError: texts or tokens that do not do, or a ratio that cannot be kept.
    """
    if not sources.voices:
        raise UserError("a codec is calibrated while it speaks with voices; give --voice")
    with (
        new_folder(options.output) as folder,
        tempfile.TemporaryDirectory(prefix="calibration-") as scratch,
    ):
        calibrated, held_out = make_utterances(
            sources, options.texts, options.tokens, Path(scratch), options.threads
        )
        codec, recipe = sources.codec, options.recipe
        observed, reference = _observe(codec, options, calibrated, held_out, Path(scratch))
        weights = _quantize(observed, recipe)
        judge = _Judge(codec, recipe.precision, held_out, reference, options.threads)
        excluded, snr_db = _exclude(judge, weights, options.snr_db)
        kept = {name: weight for name, weight in weights.items() if name not in excluded}
        record = _describe(codec, recipe, calibrated, kept, excluded, snr_db)
        return write_calibration(folder, kept, record)


@dataclass(frozen=True)
class _Observed:
    """Of each convolution: its weight (out, in, 1, taps), and the statistics of its inputs."""

    weights: dict[str, Weight]
    statistics: dict[str, InputStatistics]


def _observe(
    codec: CodecCheckpoint,
    options: CodecOptions,
    calibrated: Sequence[Utterance],
    held_out: Sequence[Utterance],
    scratch: Path,
) -> tuple[_Observed, list[Array]]:
    """Statistics of what flows into convolutions, and the held-out audio."""
    recorder = _Recorder()
    graph = build_codec_decoder(codec, DIALECT, formats=ConvolutionFormats(recorder))
    names = {name: str(value.name) for name, value in recorder.inputs.items()}
    decoder = GraphRunner(scratch, graph.save(scratch), 1, options.threads, [*names.values()])
    statistics = {
        name: InputStatistics(channels=weight.shape[1], with_gram=False)
        for name, weight in recorder.weights.items()
    }

    def watch(values: Arrays) -> None:
        for name, value in names.items():
            feature_map = values[value][0, :, 0]  # (in, T)
            statistics[name].add(feature_map.T)

    total, delay = len(calibrated) + len(held_out), codec.config.delay_frames
    with progress(f"observe {len(calibrated)} utterances", total) as stage:
        for utterance in stage.track(calibrated):
            follow_decoder(decoder, utterance, delay, watch)
        reference = [follow_decoder(decoder, u, delay) for u in stage.track(held_out)]
    return _Observed(recorder.weights, statistics), reference


def _quantize(observed: _Observed, recipe: Recipe) -> dict[str, QuantizedWeight]:
    total = len(observed.weights)
    with progress(f"quantize {total} convolutions", total) as stage:
        return {
            name: quantize_weight(as_rows(weight).read(), observed.statistics[name], recipe)[0]
            for name, weight in stage.track(observed.weights.items())
        }


@dataclass(frozen=True)
class _Judge:
    """Holds what all candidates are compared on: utterances and their audio in float32."""

    codec: CodecCheckpoint
    precision: FormatName
    utterances: Sequence[Utterance]
    reference: Sequence[Array]
    threads: int

    def snr_db(
        self,
        weights: Mapping[str, QuantizedWeight],
        track: Track = iter,
    ) -> float:
        """Signal to noise of the decoder with exactly these weights quantized.

        track: what the utterances pass through on their way, to see how far it is.
        """
        delay = self.codec.config.delay_frames
        formats = quantized_convolutions(weights)
        with tempfile.TemporaryDirectory(prefix="candidate-") as scratch:
            graph = build_codec_decoder(self.codec, DIALECT, self.precision, formats=formats)
            decoder = GraphRunner(Path(scratch), graph.save(Path(scratch)), threads=self.threads)
            audio = [follow_decoder(decoder, u, delay) for u in track(self.utterances)]
        return signal_to_noise_db(self.reference, audio)


def _exclude(
    judge: _Judge, weights: Mapping[str, QuantizedWeight], wanted_db: float | None
) -> tuple[dict[str, str], float]:
    """(convolutions to leave out and why, ratio without them)."""
    if wanted_db is None:
        with progress("judge", len(judge.utterances)) as stage:
            return {}, judge.snr_db(weights, stage.track)
    with progress(f"quantize {len(weights)} convolutions one at a time", len(weights)) as stage:
        alone = {
            name: judge.snr_db({name: weight}) for name, weight in stage.track(weights.items())
        }
    with progress(f"leave out what {wanted_db:g} dB do not allow") as stage:

        def allows(found: float) -> bool:
            stage.advance()
            return found >= wanted_db

        ranked = sorted(alone, key=lambda name: alone[name])
        chosen = choose_excluded(judge.snr_db, weights, ranked, allows)
    if chosen is None:
        raise UserError(
            f"--snr {wanted_db:g} cannot be met with anything quantized; "
            "allow less, or take another precision"
        )
    excluded, snr_db = chosen
    return {name: f"alone it leaves {alone[name]:.1f} dB: below --snr" for name in excluded}, snr_db


def _describe(
    codec: CodecCheckpoint,
    recipe: Recipe,
    calibrated: Sequence[Utterance],
    weights: Mapping[str, QuantizedWeight],
    excluded: dict[str, str],
    snr_db: float,
) -> CalibrationRecord:
    return CalibrationRecord(
        schema_version=SCHEMA_VERSION,
        precision=recipe.precision,
        model_sha256=hash_model(codec.folder),
        tensors_sha256="",
        method=MethodRecord(
            method=recipe.chosen,
            weights=recipe.weights,
            activations=recipe.activations,
            utterances=len(calibrated),
            positions=sum(len(u.frames) for u in calibrated),
        ),
        linears={name: describe_weight(weight, None) for name, weight in weights.items()},
        excluded=excluded,
        snr_db=snr_db,
    )
