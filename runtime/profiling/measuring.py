"""Bundles are measured by speaking: loaded once, and in turn, so that noise disturbs all alike.

In: bundles, and how often to speak a text. Out: a `Report`. The engines run exactly as they do in
`runtime.speech.synthesis`; observers hear of each call. It draws nothing and prints nothing.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from commands.errors import UserError
from commands.progress import Stage, progress
from runtime.profiling.comparing import compare_runs
from runtime.profiling.layers import layer_times
from runtime.profiling.limits import measure_gpu_limits, measure_limits
from runtime.profiling.machine.facts import describe_machine
from runtime.profiling.machine.noise import NoiseMonitor
from runtime.profiling.report import Comparison, Layer, Limits, Noise, Point, Report, Subject
from runtime.profiling.runs import Run, Spoken
from runtime.profiling.statistics import summarize
from runtime.profiling.subjects import Loaded, describe_subject
from runtime.speaking_options import MEASURED_TEXT

if TYPE_CHECKING:
    from runtime.speech.schedule import ChunkSchedule
    from runtime.speech.synthesis import TTS

USUAL_CONTEXT = 256
POINT_ROUNDS, STEPS_A_ROUND = 3, 12


@dataclass(frozen=True)
class ProfileOptions:
    """What is measured, and how often.

    engines: directories of bundles; the first one is what others are compared with. threads: of the
    CPU, each with every bundle; None takes the default. runs: how often the text is spoken and
    measured. warmup: runs before them, which do not count. max_steps: at most so many for each
    sentence. look_ahead: as in `ChunkSchedule`. contexts, rows: steps are measured after so many
    positions, and with so many rows. layers: measure what each layer costs, too.
    """

    engines: tuple[str | Path, ...]
    text: str = MEASURED_TEXT
    runs: int = 5
    warmup: int = 1
    run_with: str = "auto"
    threads: tuple[int | None, ...] = (None,)
    voice: str | None = None
    max_steps: int | None = None
    look_ahead: int | None = None
    contexts: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()
    layers: bool = False

    def schedule(self, tts: TTS) -> ChunkSchedule:
        """How its speech is cut into chunks."""
        from runtime.speech.schedule import soon_heard

        return soon_heard(tts.bundle.manifest.codec, self.look_ahead)

    def __post_init__(self) -> None:
        if self.runs < 1 or self.warmup < 0:
            raise UserError("--runs takes 1 or more, --warmup 0 or more")


def measure(options: ProfileOptions) -> Report:
    """Load the bundles, speak the text with each in turn, and return all figures. Standard error
    shows how far it has got.

    Raises:
        UserError: no bundle, a text or voice that does not fit, an engine that cannot run.
    """
    with _stage("loading"):
        subjects = [*_load_all(options)]
    with _stage("limits of the machine"):
        limits = _measure_limits(subjects)
    noise = NoiseMonitor()
    runs = _measure_runs(subjects, options, noise)
    points = _measure_points(subjects, options, noise)
    found = noise.finish()
    described = []
    for subject, own_runs, own_points in zip(subjects, runs, points, strict=True):
        layers = _measure_layers(subject, options)
        limit = limits[_limited_by(subject)]
        measured = own_runs, own_points, limit, layers
        described.append(describe_subject(subject, *measured, options.look_ahead))
    comparisons = [*_compare_all(subjects, runs)]
    return make_report(options.text, subjects, described, limits, found, comparisons)


def report_utterance(loaded: Loaded, run: Run, noise: Noise) -> Report:
    """The report of one utterance that was spoken for somebody."""
    limits = _measure_limits([loaded])
    subject = describe_subject(loaded, [run], (), limits[_limited_by(loaded)])
    return make_report(loaded.spoken.text, [loaded], [subject], limits, noise)


def make_report(
    text: str,
    loaded: Sequence[Loaded],
    subjects: Sequence[Subject],
    limits: Mapping[tuple[bool, int], Limits],
    noise: Noise,
    comparisons: Sequence[Comparison] = (),
) -> Report:
    """All that was measured, and where."""
    program, *arguments = sys.argv
    return Report(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join([Path(program).stem, *arguments]),
        text=text,
        machine=describe_machine(next((each.gpu for each in loaded if each.gpu), None)),
        limits=tuple(limits.values()),
        noise=noise,
        subjects=tuple(subjects),
        comparisons=tuple(comparisons),
    )


def _load_all(options: ProfileOptions) -> Iterator[Loaded]:
    spoken = Spoken(options.text, options.voice, options.max_steps)
    names = _label(options.engines)
    for name, engine in zip(names, options.engines, strict=True):
        for threads in options.threads:
            label = name if len(options.threads) == 1 else f"{name}, {_threads(threads)}"
            yield Loaded.open(label, engine, options.run_with, threads, spoken)


def _label(engines: Sequence[str | Path]) -> list[str]:
    """Folder names; the whole path where these are not distinct; numbered where that is not."""
    short = [Path(engine).name or str(engine) for engine in engines]
    whole = [
        name if short.count(name) == 1 else str(engine)
        for name, engine in zip(short, engines, strict=True)
    ]
    return [
        name if whole.count(name) == 1 else f"{name} ({whole[:number].count(name) + 1})"
        for number, name in enumerate(whole)
    ]


def _threads(threads: int | None) -> str:
    if threads is None:
        return "default threads"
    return f"{threads} thread{'s' if threads > 1 else ''}"


def _measure_limits(subjects: Sequence[Loaded]) -> dict[tuple[bool, int], Limits]:
    """Of the CPU for each number of threads, and of the GPU."""
    limits = {}
    for subject in subjects:
        key = _limited_by(subject)
        if key not in limits:
            limits[key] = measure_gpu_limits() if key[0] else measure_limits(subject.threads)
    return limits


def _limited_by(subject: Loaded) -> tuple[bool, int]:
    """What limits it: a GPU, or so many threads."""
    return subject.is_on_gpu, subject.threads


def _in_turn(subjects: Sequence[Loaded], number: int) -> list[int]:
    """A B, then B A, and so on."""
    order = [*range(len(subjects))]
    return order if number % 2 == 0 else order[::-1]


def _measure_runs(
    subjects: Sequence[Loaded], options: ProfileOptions, noise: NoiseMonitor
) -> list[list[Run]]:
    runs: list[list[Run]] = [[] for _ in subjects]
    with _stage("runs", options.warmup + options.runs) as stage:
        for number in stage.track(range(options.warmup + options.runs)):
            for index in _in_turn(subjects, number):
                subject = subjects[index]
                run = subject.speak(options.schedule(subject.tts), seed=number)
                if number >= options.warmup:
                    runs[index].append(run)
            noise.check_clock()
    return runs


def _measure_points(
    subjects: Sequence[Loaded], options: ProfileOptions, noise: NoiseMonitor
) -> list[list[Point]]:
    """Steps after each context, and of each number of rows."""
    wanted = [(context, 1) for context in options.contexts]
    wanted += [(min(options.contexts, default=USUAL_CONTEXT), rows) for rows in options.rows]
    points: list[list[Point]] = [[] for _ in subjects]
    if not wanted:
        return points
    with _stage("contexts and rows", len(wanted)) as stage:
        for context, rows in stage.track(dict.fromkeys(wanted)):
            times = _time_in_turn(subjects, context, rows)
            for index, seconds in enumerate(times):
                points[index].append(Point(context=context, rows=rows, seconds=summarize(seconds)))
            noise.check_clock()
    return points


def _time_in_turn(subjects: Sequence[Loaded], context: int, rows: int) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in subjects]
    for number in range(POINT_ROUNDS + 1):
        for index in _in_turn(subjects, number):
            found = subjects[index].time_steps(context, rows, STEPS_A_ROUND)
            times[index] += found if number else []  # the first round warms up
    return times


def _measure_layers(subject: Loaded, options: ProfileOptions) -> tuple[Layer, ...]:
    if not options.layers:
        return ()
    with _stage(f"layers of {subject.label}"):
        return layer_times(subject.tts.bundle, subject.run_with, subject.asked_for)


def _stage(name: str, total: int | None = None) -> AbstractContextManager[Stage]:
    return progress(name, total, to_stderr=True)


def _compare_all(subjects: Sequence[Loaded], runs: Sequence[list[Run]]) -> Iterator[Comparison]:
    """All others with the first."""
    for subject, own in zip(subjects[1:], runs[1:], strict=True):
        yield from compare_runs(subjects[0].label, runs[0], subject.label, own)
