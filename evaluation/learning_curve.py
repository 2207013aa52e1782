"""`python -m evaluation.learning_curve`: word errors against minutes of training.

In: runs of `train.lm` with the training checkpoints in their `run` folders (`checkpoints_kept`
says how many stay), and the codec of their tokens. Each checkpoint, with its averaged weights if
there are any, is exported as a user would export it, speaks and is judged. Out: `curve.json`,
`curve.md` and `curve.png`, rewritten after every checkpoint. The judges' answers are kept, as in
`evaluation.speech`.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.interruption import Interruption
from commands.options import add_count, add_limit, add_max_minutes, add_output, add_threads
from commands.progress import tell
from commands.run import run_command
from commands.tables import markdown_table
from evaluation.sentences import DEFAULT_SENTENCES, describe_file, read_sentences
from evaluation.speech import CACHE_FILE, judge_system, parse_named, stop_check

if TYPE_CHECKING:
    from evaluation.jury import Jury
    from evaluation.report import Interval
    from evaluation.sentences import Sentence

RUN_FOLDER = "run"  # of train/language_model_training/run.py
STATE_FILE = "trainer_state.json"
LOG_FILES = "events.out.tfevents.*"

Clock = list[tuple[int, float]]  # (step, minutes of training until then), beginning with (0, 0.0)


@dataclass(frozen=True)
class Point:
    """One checkpoint: how long it was trained and how well it speaks."""

    run: str
    step: int
    minutes: float
    word_error_rate: float
    word_error_interval: Interval
    dnsmos: float  # OVRL
    stopped: float


@dataclass(frozen=True)
class TrainedModel:
    """A training checkpoint with the codec and voices to speak with. `voices` are NAME=FILE."""

    run: str
    checkpoint: Path
    minutes: float
    codec: Path
    voices: tuple[str, ...]


def run(arguments: argparse.Namespace) -> None:
    """Judge the checkpoints that the arguments name, and draw the curve."""
    interruption = Interruption(arguments.max_minutes)
    models = list(find_models(arguments))
    from evaluation.jury import Jury
    from evaluation.plots import plotting

    plotting()  # a missing package is reported now, not after an hour
    sentences = read_sentences(arguments.sentences, arguments.limit)
    arguments.output.mkdir(parents=True, exist_ok=True)
    jury = Jury(["whisper"], cache=arguments.output / CACHE_FILE, threads=arguments.threads)
    check = stop_check(interruption, arguments)
    points: list[Point] = []
    with interruption:
        for model in models:
            points.append(judge_checkpoint(model, sentences, jury, arguments.threads, check))
            tell(format_points(points[-1:]).splitlines()[-1])
            write_curve(arguments.output, arguments.sentences, jury.versions, points)
    print(format_points(points), end="")


def find_models(arguments: argparse.Namespace) -> Iterator[TrainedModel]:
    """The checkpoints to judge, run after run."""
    for name, folder in map(parse_named, arguments.run):
        checkpoints, clock = find_checkpoints(folder), read_clock(folder)
        last = len(checkpoints) - 1
        for index, checkpoint in enumerate(checkpoints):
            if index == last or (index + 1) % arguments.every == 0:
                minutes = minutes_at(clock, step_of(checkpoint))
                yield TrainedModel(name, checkpoint, minutes, arguments.codec, (arguments.voice,))


def find_checkpoints(output: Path) -> list[Path]:
    """The training checkpoints that a run left, the earliest first.

    Raises:
        UserError: there are none.
    """
    found = (output / RUN_FOLDER).glob("checkpoint-*")
    checkpoints = sorted((p for p in found if (p / STATE_FILE).is_file()), key=step_of)
    if not checkpoints:
        raise UserError(
            f"{output}: no training checkpoints in {RUN_FOLDER}; name what train.lm --output wrote"
        )
    return checkpoints


def step_of(checkpoint: Path) -> int:
    """100 of `checkpoint-100`."""
    return int(checkpoint.name.rpartition("-")[2])


def read_clock(output: Path) -> Clock:
    """How long a run took until each logged step, evaluations included, from its TensorBoard logs.

    An interrupted run has one log for each part. Steps after the checkpoint from which the next
    part continued do not count, because their result is lost.

    Raises:
        UserError: there are no logs.
    """
    parts = [read_part(file) for file in (output / RUN_FOLDER).rglob(LOG_FILES)]
    clock: Clock = [(0, 0.0)]
    for begin, logged in sorted(parts):
        clock = continue_clock(clock, begin, logged)
    if len(clock) == 1:
        raise UserError(f"{output}: no TensorBoard logs in {RUN_FOLDER}, which hold the minutes")
    return clock


def read_part(file: Path) -> tuple[float, list[tuple[int, float]]]:
    """When a log begins, and when each of its steps was logged, in seconds."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    begin, logged = math.inf, dict[int, float]()
    for event in EventFileLoader(str(file)).Load():
        begin = min(begin, event.wall_time)
        if event.step > 0:
            logged.setdefault(event.step, event.wall_time)
    return begin, sorted(logged.items())


def continue_clock(clock: Clock, begin: float, logged: Sequence[tuple[int, float]]) -> Clock:
    """The clock with one more part of the run, which continues before its first logged step."""
    if not logged:
        return clock
    kept = [entry for entry in clock if entry[0] < logged[0][0]]
    before = kept[-1][1]
    return kept + [(step, before + (seconds - begin) / 60) for step, seconds in logged]


def minutes_at(clock: Clock, step: int) -> float:
    """Minutes of training until `step`, between the logged steps by interpolation."""
    import numpy as np

    steps, minutes = zip(*clock, strict=True)
    return float(np.interp(step, steps, minutes))


def judge_checkpoint(
    model: TrainedModel,
    sentences: Sequence[Sentence],
    jury: Jury,
    threads: int | None,
    check: Callable[[], None] = lambda: None,
) -> Point:
    """Export a checkpoint, let it speak, and judge it; `check` is called after each sentence."""
    from evaluation.systems import System, speak

    with tempfile.TemporaryDirectory() as folder:
        engine = export(model, Path(folder))
        name = f"{model.run}, {model.checkpoint.name}"
        system = System(name, speak(engine, sentences, threads=threads))
        report, _ = judge_system(system, jury, len(sentences), check)
    judge = next(iter(report.word_error_rate))
    return Point(
        run=model.run,
        step=step_of(model.checkpoint),
        minutes=model.minutes,
        word_error_rate=report.word_error_rate[judge],
        word_error_interval=report.word_error_interval[judge],
        dnsmos=report.dnsmos["ovrl"],
        stopped=report.stopped,
    )


def export(model: TrainedModel, folder: Path) -> Path:
    """Build a bundle of the checkpoint in `folder`; the exporter's output goes to stderr."""
    from export.options import ExportOptions, Source
    from export.pipeline import build_bundle
    from train.language_model_training.averaging import write_averaged_checkpoint

    write_averaged_checkpoint(model.checkpoint, folder / "model")
    source = Source(folder / "model", model.codec, model.voices)
    options = ExportOptions(source, output=folder / "engine")
    with redirect_stdout(sys.stderr):
        build_bundle(options)
    return options.output


def format_points(points: Sequence[Point]) -> str:
    """A Markdown table, one row per checkpoint."""
    from evaluation.report import percent

    titles = ["run", "step", "minutes", "WER whisper", "OVRL", "stopped"]
    rows = [
        [
            point.run,
            str(point.step),
            f"{point.minutes:.1f}",
            percent(point.word_error_rate, point.word_error_interval),
            f"{point.dnsmos:.2f}",
            percent(point.stopped),
        ]
        for point in points
    ]
    return markdown_table(titles, rows)


def write_curve(folder: Path, sentences: Path, judges: dict[str, str], points: list[Point]) -> None:
    """curve.json, curve.md and curve.png."""
    from evaluation.plots import plot_curves
    from formats.files.atomic import write_json, write_text

    content = {
        "sentences": describe_file(sentences),
        "judges": judges,
        "points": [asdict(point) for point in points],
    }
    write_json(folder / "curve.json", content)
    write_text(folder / "curve.md", format_points(points))
    runs = dict.fromkeys(point.run for point in points)
    curves = {
        run: [
            (point.minutes, point.word_error_rate, point.word_error_interval)
            for point in points
            if point.run == run
        ]
        for run in runs
    }
    plot_curves(curves, folder / "curve.png")


def make_parser() -> CommandParser:
    parser = command_parser(
        "evaluation.learning_curve",
        "Draw a run's word errors against its minutes of training.",
    )
    add = parser.add_argument
    add("--run", action="append", required=True, metavar="[NAME=]DIR", help="--output of train.lm")
    add("--codec", type=Path, required=True, metavar="DIR", help="the codec of the tokens")
    add("--voice", required=True, metavar="NAME=FILE", help="a voice, as for export.build")
    add_count(parser, "--every", "judge each N-th checkpoint, and the last", default=1)
    add(
        "--sentences",
        type=Path,
        default=DEFAULT_SENTENCES,
        metavar="FILE",
        help="one a line (default: samples/evaluation/everyday.txt of this clone)",
    )
    add_limit(parser, "sentences", default=20)
    add_threads(parser, "the bundle and Whisper")
    add_output(parser, "folder for the curve", default="learning-curve")
    add_max_minutes(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
