"""From a model and what it says to a calibration directory.

In: sources, a recipe, texts or tokens. Out: the directory that `export.build --calibration`
takes, with scales for every product of the backbone and the head, or with some of them left out
to keep a budget. This is the way through the other files of the package.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from calibration.measurement.candidates import Judge
from calibration.measurement.fidelity import Fidelity
from calibration.measurement.reference import make_utterances, write_recorded
from calibration.measurement.statistics import StatisticsCollector
from calibration.measurement.teacher_forcing import Follower
from calibration.measurement.utterances import Utterance
from calibration.methods.quantize import Recipe, quantize_weight
from calibration.sensitivity import Budget, Sensitivity, choose_excluded, measure_sensitivity
from calibration.sensitivity_report import write_sensitivity
from commands.errors import UserError
from commands.progress import progress
from export.sources import Sources
from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.record import SCHEMA_VERSION, CalibrationRecord, MethodRecord, hash_model
from formats.calibration.writer import describe_weight, new_folder, write_calibration
from formats.weights import Array


@dataclass(frozen=True)
class CalibrationOptions:
    """texts: sentences to be spoken. tokens: recorded frames instead. dialect: whose graphs are
    judged. budget: implies sensitivity."""

    recipe: Recipe
    output: Path
    texts: Sequence[str] = ()
    tokens: Path | None = None
    dialect: str = "ort"
    sensitivity: bool = False
    budget: Budget | None = None
    threads: int = 1


@dataclass(frozen=True)
class Quantized:
    """All quantized weights by name, the exponents of their smoothing, and those left out."""

    weights: dict[str, QuantizedWeight]
    alphas: dict[str, float | None]
    excluded: dict[str, str]


def calibrate(sources: Sources, options: CalibrationOptions) -> CalibrationRecord:
    """Calibrate, and write `options.output`, printing progress.

    Raises:
        UserError: texts or tokens that do not do, or a budget that cannot be kept.
    """
    with (
        new_folder(options.output) as folder,
        tempfile.TemporaryDirectory(prefix="calibration-") as scratch,
    ):
        calibrated, held_out = make_utterances(
            sources, options.texts, options.tokens, Path(scratch), options.threads
        )
        collector, reference = _observe(sources, options, calibrated, held_out, Path(scratch))
        quantized = _quantize(collector, options.recipe)
        judge = Judge(
            sources.checkpoint,
            options.dialect,
            options.recipe.precision,
            held_out,
            reference,
            options.threads,
        )
        quantized, fidelity = _keep_budget(judge, quantized, options, folder)
        record = _describe(sources, options, calibrated, quantized, fidelity)
        return write_calibration(folder, quantized.weights, record)


def _observe(
    sources: Sources,
    options: CalibrationOptions,
    calibrated: Sequence[Utterance],
    held_out: Sequence[Utterance],
    scratch: Path,
) -> tuple[StatisticsCollector, list[Array]]:
    """Statistics of what flows into products, and the held-out scores."""
    recorder, graphs = write_recorded(sources.checkpoint, scratch)
    collector = StatisticsCollector(recorder, with_gram=options.recipe.chosen == "gptq")
    capacity = max(u.embeddings.shape[1] for u in (*calibrated, *held_out))
    follower = Follower.load(
        scratch, graphs, capacity, threads=options.threads, watched=recorder.watched()
    )
    total = len(calibrated) + len(held_out)
    with progress(f"observe {len(calibrated)} utterances", total) as stage:
        for utterance in stage.track(calibrated):
            follower.scores(utterance, collector.watch)
        reference = [follower.scores(utterance) for utterance in stage.track(held_out)]
    return collector, reference


def _quantize(collector: StatisticsCollector, recipe: Recipe) -> Quantized:
    quantized = Quantized({}, {}, {})
    total = len(collector.weights)
    with progress(f"quantize {total} weights: {recipe.chosen}", total) as stage:
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


def _keep_budget(
    judge: Judge, quantized: Quantized, options: CalibrationOptions, folder: Path
) -> tuple[Quantized, Fidelity]:
    """What is left when the budget is kept, and its fidelity."""
    if not options.sensitivity and options.budget is None:
        with progress("judge", len(judge.utterances)) as stage:
            return quantized, judge.judge(quantized.weights, stage.track)
    total = len(quantized.weights)
    with progress(f"quantize {total} weights one at a time", total) as stage:
        sensitivity = measure_sensitivity(
            judge.judge, quantized.weights, lambda *_: stage.advance()
        )
    excluded: list[str] = []
    if options.budget is None:
        fidelity = judge.judge(quantized.weights)
    else:
        with progress("leave out what the budget does not allow") as stage:
            excluded, fidelity = _exclude(
                judge, quantized, sensitivity, options.budget, stage.advance
            )
    write_sensitivity(folder, sensitivity, excluded)
    return _without(quantized, excluded, sensitivity), fidelity


def _exclude(
    judge: Judge,
    quantized: Quantized,
    sensitivity: Sensitivity,
    budget: Budget,
    advance: Callable[[], None],
) -> tuple[list[str], Fidelity]:
    """(weights to leave out, fidelity without them). advance: called after each attempt."""

    def allows(fidelity: Fidelity) -> bool:
        advance()
        return budget.allows(fidelity)

    chosen = choose_excluded(judge.judge, quantized.weights, sensitivity.ranked(), allows)
    if chosen is None:
        raise UserError(
            f"--budget {budget} cannot be met with anything quantized; "
            "allow more, or take another precision or method"
        )
    return chosen


def _without(quantized: Quantized, names: Sequence[str], sensitivity: Sensitivity) -> Quantized:
    reasons = {
        name: f"alone it costs {sensitivity.alone[name].kl_divergence:.3g} nats: over budget"
        for name in names
    }
    kept = {name: weight for name, weight in quantized.weights.items() if name not in reasons}
    return Quantized(kept, quantized.alphas, quantized.excluded | reasons)


def _describe(
    sources: Sources,
    options: CalibrationOptions,
    calibrated: Sequence[Utterance],
    quantized: Quantized,
    fidelity: Fidelity,
) -> CalibrationRecord:
    recipe = options.recipe
    return CalibrationRecord(
        schema_version=SCHEMA_VERSION,
        precision=recipe.precision,
        model_sha256=hash_model(sources.checkpoint.folder),
        tensors_sha256="",
        method=MethodRecord(
            method=recipe.chosen,
            weights=recipe.weights,
            activations=None if recipe.is_weight_only else recipe.activations,
            utterances=len(calibrated),
            positions=sum(u.embeddings.shape[1] for u in calibrated),
        ),
        linears={
            name: describe_weight(weight, quantized.alphas[name])
            for name, weight in quantized.weights.items()
        },
        excluded=quantized.excluded,
        kl_divergence=fidelity.kl_divergence,
        agreement=fidelity.agreement,
    )
