"""A calibration, from a model and its texts to a directory of scales.

In: a subject (`calibration.subject`) and options. Out: the directory that `export.build` takes with
`--calibration` or `--codec-calibration`. It has scales for every weight, or leaves some weights out
to keep a goal. The steps are: listen, observe, quantize, keep the goal, write.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from calibration.goals import Found, Goal
from calibration.measurement.following import Loading
from calibration.measurement.reference import make_utterances
from calibration.measurement.statistics import StatisticsCollector
from calibration.measurement.utterances import EmbeddedUtterance
from calibration.methods.quantize import Recipe, quantize_weight
from calibration.sensitivity import Sensitivity, Weights, choose_excluded, measure_sensitivity
from calibration.subject import Subject
from commands.errors import UserError
from commands.progress import Track, progress
from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.record import SCHEMA_VERSION, CalibrationRecord, MethodRecord, hash_model
from formats.calibration.writer import describe_weight, new_folder, write_calibration
from formats.weights import Array


@dataclass(frozen=True)
class Data:
    """texts: sentences that the model speaks. tokens: a file of recorded frames instead."""

    texts: Sequence[str] = ()
    tokens: Path | None = None


@dataclass(frozen=True)
class CalibrationOptions:
    """sensitivity: also quantize one weight at a time, and report the cost of each."""

    recipe: Recipe
    data: Data
    output: Path
    sensitivity: bool = False
    threads: int = 1


@dataclass(frozen=True)
class Heard:
    """Utterances to calibrate on, and held-out ones to judge with."""

    calibrated: Sequence[EmbeddedUtterance]
    held_out: Sequence[EmbeddedUtterance]


@dataclass(frozen=True)
class Quantized:
    """All quantized weights by name, the exponents of their smoothing, and reasons by the name of
    each excluded weight."""

    weights: dict[str, QuantizedWeight] = field(default_factory=dict)
    alphas: dict[str, float | None] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)

    def without(self, reasons: dict[str, str]) -> Quantized:
        """The same with the weights in `reasons` excluded."""
        kept = {name: weight for name, weight in self.weights.items() if name not in reasons}
        return Quantized(kept, self.alphas, self.excluded | reasons)


@dataclass(frozen=True)
class Judge(Generic[Found]):
    """Compares candidates with the float32 model on held-out utterances.

    reference: the float32 model's result for each of them.
    """

    subject: Subject[Found]
    recipe: Recipe
    utterances: Sequence[EmbeddedUtterance]
    reference: Sequence[Array]
    threads: int

    def __call__(self, weights: Weights, track: Track = iter) -> Found:
        """How far the model is from float32 with exactly these weights quantized.

        track: passes the utterances on, and shows how many are done.
        """
        with tempfile.TemporaryDirectory(prefix="candidate-") as scratch:
            loading = Loading(Path(scratch), self.utterances, self.threads)
            follow = self.subject.load_candidate(loading, self.recipe.precision, weights)
            found = [follow(utterance) for utterance in track(self.utterances)]
        return self.subject.compare(self.reference, found)


def calibrate(
    subject: Subject[Found], options: CalibrationOptions, goal: Goal[Found] | None = None
) -> CalibrationRecord:
    """Calibrate, and write `options.output`, printing progress.

    goal: what held-out sentences must keep. The most sensitive weights stay floats for it.

    Raises:
        UserError: texts or tokens are of no use, or the goal cannot be kept.
    """
    with (
        new_folder(options.output) as folder,
        tempfile.TemporaryDirectory(prefix="calibration-") as scratch,
    ):
        heard = _listen(subject, options, Path(scratch))
        collector, reference = _observe(subject, options, heard, Path(scratch))
        quantized = _quantize(collector, options.recipe, subject.parts)
        judge = Judge(subject, options.recipe, heard.held_out, reference, options.threads)
        quantized, finding = _keep_goal(judge, quantized, options, goal, folder)
        record = _describe(subject, options.recipe, heard, quantized, finding)
        return write_calibration(folder, quantized.weights, record)


def _listen(subject: Subject[Found], options: CalibrationOptions, scratch: Path) -> Heard:
    data, threads = options.data, options.threads
    return Heard(*make_utterances(subject.sources, data.texts, data.tokens, scratch, threads))


def _observe(
    subject: Subject[Found], options: CalibrationOptions, heard: Heard, scratch: Path
) -> tuple[StatisticsCollector, list[Array]]:
    """Statistics of the inputs of products, and float32's results for held-out utterances."""
    everything = (*heard.calibrated, *heard.held_out)
    loading = Loading(scratch, everything, options.threads)
    follow, collector = subject.load_observed(loading, options.recipe)
    with progress(f"observe {len(heard.calibrated)} utterances", len(everything)) as stage:
        for utterance in stage.track(heard.calibrated):
            follow(utterance, collector.watch)
        reference = [follow(utterance) for utterance in stage.track(heard.held_out)]
    if not all(inputs.rows for inputs in collector.statistics.values()):
        raise UserError("the sentences to calibrate on have no speech at all; give other texts")
    return collector, reference


def _quantize(collector: StatisticsCollector, recipe: Recipe, parts: str) -> Quantized:
    quantized, total = Quantized(), len(collector.weights)
    with progress(f"quantize {total} {parts}: {recipe.chosen}", total) as stage:
        for name, weight in stage.track(collector.weights.items()):
            if objection := recipe.objection(weight.shape[1]):
                quantized.excluded[name] = objection
                continue
            quantized.weights[name], quantized.alphas[name] = quantize_weight(
                weight.read(), collector.statistics.pop(name), recipe
            )
    if not quantized.weights:
        raise UserError(f"nothing can be quantized: {next(iter(quantized.excluded.values()))}")
    return quantized


def _keep_goal(
    judge: Judge[Found],
    quantized: Quantized,
    options: CalibrationOptions,
    goal: Goal[Found] | None,
    folder: Path,
) -> tuple[Quantized, Found]:
    """The weights that can be quantized within the goal, and how far they are from float32."""
    if goal is None and not options.sensitivity:
        with progress("judge", len(judge.utterances)) as stage:
            return quantized, judge(quantized.weights, stage.track)
    total, parts = len(quantized.weights), judge.subject.parts
    with progress(f"quantize {total} {parts} one at a time", total) as stage:
        sensitivity = measure_sensitivity(judge, quantized.weights, stage.advance)
    excluded: list[str] = []
    if goal is None:
        finding = judge(quantized.weights)
    else:
        with progress(f"leave out what {goal} does not allow") as stage:
            excluded, finding = _exclude(judge, quantized.weights, sensitivity, goal, stage.advance)
    judge.subject.write_report(folder, sensitivity, excluded)
    reasons = {name: sensitivity.alone[name].reason for name in excluded}
    return quantized.without(reasons), finding


def _exclude(
    judge: Judge[Found],
    weights: Weights,
    sensitivity: Sensitivity[Found],
    goal: Goal[Found],
    advance: Callable[[], None],
) -> tuple[list[str], Found]:
    """The weights to leave out, and the finding without them. advance: called after each try."""

    def allows(finding: Found) -> bool:
        advance()
        return goal.allows(finding)

    chosen = choose_excluded(judge, weights, sensitivity.ranked(), allows)
    if chosen is None:
        raise UserError(f"{goal} cannot be met with anything quantized; {goal.advice}")
    return chosen


def _describe(
    subject: Subject[Found], recipe: Recipe, heard: Heard, quantized: Quantized, finding: Found
) -> CalibrationRecord:
    method = MethodRecord(
        method=recipe.chosen,
        weights=recipe.weights,
        activations=None if recipe.is_weight_only else recipe.activations,
        utterances=len(heard.calibrated),
        positions=sum(map(subject.count_positions, heard.calibrated)),
    )
    return CalibrationRecord(
        schema_version=SCHEMA_VERSION,
        precision=recipe.precision,
        model_sha256=hash_model(subject.folder),
        tensors_sha256="",  # known when they are written
        method=method,
        linears={
            name: describe_weight(weight, quantized.alphas[name])
            for name, weight in quantized.weights.items()
        },
        excluded=quantized.excluded,
        **finding.figures(),
    )
