"""`python -m train.learning_curve`: word errors against minutes of training.

In: runs of `train.lm` with the training checkpoints in their `run` folders (`checkpoints_kept`
says how many stay), and the codec of their tokens. Each checkpoint, averaged if there is an
average, is exported as a user would export it, speaks, and is judged. Out: `curve.json`,
`curve.md` and `curve.png`, after every checkpoint anew. What the judges said is kept, as in
`train.evaluate`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.errors import UserError, run_cli

if TYPE_CHECKING:
    from train.jury import Jury
    from train.report import Interval

RUN_FOLDER = "run"  # of train.lm_run
STATE_FILE = "trainer_state.json"
CACHE_FILE = "judged.jsonl"
MINUTES = "minutes"


@dataclass(frozen=True)
class Point:
    """One checkpoint: how long it was trained, and how it speaks."""

    run: str
    step: int
    minutes: float
    word_error_rate: float
    word_error_interval: Interval
    dnsmos: float  # OVRL
    stopped: float


@dataclass(frozen=True)
class TrainedModel:
    """A training checkpoint and what it needs to speak. `voices` are NAME=FILE."""

    run: str
    checkpoint: Path
    codec: Path
    voices: tuple[str, ...]


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


def read_minutes(checkpoint: Path) -> float:
    """How long training took until this checkpoint, from its log.

    Raises:
        UserError: a log without minutes.
    """
    log: list[dict[str, Any]] = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))[
        "log_history"
    ]
    timed = [(entry["step"], entry[MINUTES]) for entry in log if MINUTES in entry]
    if not timed:
        raise UserError(f"{checkpoint}: its log tells no minutes; train it with this version")
    step, minutes = timed[-1]
    return float(minutes) * step_of(checkpoint) / step  # the last entry may be some steps older


def judge_checkpoint(
    model: TrainedModel, sentences: Sequence[str], jury: Jury, threads: int | None
) -> Point:
    """Export a checkpoint, let it speak, and ask what was understood."""
    from train.evaluate import judge_system
    from train.systems import System, speak

    with tempfile.TemporaryDirectory() as folder:
        engine = export(model, Path(folder))
        name = f"{model.run}, {model.checkpoint.name}"
        system = System(name, speak(engine, sentences, threads=threads))
        report, _ = judge_system(system, jury, len(sentences))
    judge = next(iter(report.word_error_rate))
    return Point(
        run=model.run,
        step=step_of(model.checkpoint),
        minutes=read_minutes(model.checkpoint),
        word_error_rate=report.word_error_rate[judge],
        word_error_interval=report.word_error_interval[judge],
        dnsmos=report.dnsmos["ovrl"],
        stopped=report.stopped,
    )


def export(model: TrainedModel, folder: Path) -> Path:
    """Build a bundle of the checkpoint in `folder`; what the exporter says goes to stderr."""
    from export.build import BuildOptions, build_bundle
    from train.averaging import write_averaged_checkpoint

    write_averaged_checkpoint(model.checkpoint, folder / "model")
    options = BuildOptions(
        model=folder / "model", codec=model.codec, voices=model.voices, output=folder / "engine"
    )
    with redirect_stdout(sys.stderr):
        build_bundle(options)
    return options.output


def format_points(points: Sequence[Point]) -> str:
    """A Markdown table, one row per checkpoint."""
    from train.report import markdown_table, percent

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
    from runtime.files import write_atomically
    from train.plots import plot_curves

    content = {
        "sentences": str(sentences),
        "judges": judges,
        "points": [asdict(point) for point in points],
    }
    as_json = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / "curve.json", as_json.encode())
    write_atomically(folder / "curve.md", format_points(points).encode())
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


def build_parser() -> argparse.ArgumentParser:
    from train.evaluate import DEFAULT_SENTENCES

    parser = argparse.ArgumentParser(
        prog="python -m train.learning_curve",
        description="Word errors of a run's training checkpoints against minutes of training.",
    )
    add = parser.add_argument
    add("--run", action="append", required=True, metavar="[NAME=]DIR", help="--output of train.lm")
    add("--codec", type=Path, required=True, metavar="DIR", help="the codec of the tokens")
    add("--voice", required=True, metavar="NAME=FILE", help="a voice, as for export.build")
    add(
        "--every", type=int, default=1, metavar="N", help="judge each N-th checkpoint, and the last"
    )
    add("--sentences", type=Path, default=DEFAULT_SENTENCES, metavar="FILE")
    add("--limit", type=int, default=20, metavar="N", help="sentences (default: 20)")
    add("--threads", type=int, metavar="N", help="of the bundle and of Whisper")
    add("--output", type=Path, default=Path("learning-curve"), metavar="DIR")
    return parser


def find_models(arguments: argparse.Namespace) -> Iterator[TrainedModel]:
    """The checkpoints to judge, run after run."""
    from train.evaluate import parse_named

    for name, folder in map(parse_named, arguments.run):
        checkpoints = find_checkpoints(folder)
        last = len(checkpoints) - 1
        for index, checkpoint in enumerate(checkpoints):
            if index == last or (index + 1) % arguments.every == 0:
                yield TrainedModel(name, checkpoint, arguments.codec, (arguments.voice,))


def draw(argv: Sequence[str] | None) -> None:
    """Judge the checkpoints that the arguments name."""
    arguments = build_parser().parse_args(argv)
    if arguments.every < 1 or arguments.limit < 1:
        raise UserError("--every and --limit take 1 or more")
    models = list(find_models(arguments))
    for model in models:
        read_minutes(model.checkpoint)  # a log without minutes is told before the work
    from train.jury import Jury
    from train.plots import plotting
    from train.systems import read_sentences

    plotting()
    sentences = read_sentences(arguments.sentences, arguments.limit)
    arguments.output.mkdir(parents=True, exist_ok=True)
    jury = Jury(["whisper"], cache=arguments.output / CACHE_FILE, threads=arguments.threads)
    points: list[Point] = []
    for model in models:
        points.append(judge_checkpoint(model, sentences, jury, arguments.threads))
        print(format_points(points[-1:]).splitlines()[-1], file=sys.stderr)
        write_curve(arguments.output, arguments.sentences, jury.versions, points)
    print(format_points(points), end="")


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(draw, argv)


if __name__ == "__main__":
    sys.exit(main())
