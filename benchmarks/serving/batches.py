"""How much faster a batch is with more workers: `runtime.batch` with each number of them, in turn.

In: a bundle, and sentences, of which a table is made. Out: a table with a line for each number of
workers, and the same as JSON. Every run is the whole command, from its start to its end, into a new
folder; the files of all runs must be the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, whole_from
from commands.progress import tell
from commands.run import run_command
from commands.tables import markdown_table

SENTENCES = Path(__file__).parents[2] / "samples" / "evaluation"
WORKERS = (1, 2)
TITLES = ("workers", "seconds", "audio s/s", "processor, s", "times one worker")


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Figures of each run, by its number of workers. Every other round goes the other way."""
    table = folder / "texts.txt"
    table.write_text("\n".join(read_texts(arguments.texts)) + "\n", encoding="utf-8")
    runs: dict[int, list[dict[str, float]]] = {workers: [] for workers in arguments.workers}
    said: list[str] = []
    for number in range(arguments.rounds):
        for workers in [*runs][:: 1 if number % 2 == 0 else -1]:
            output = folder / f"{number}-{workers}"
            figures = speak(arguments.engine, table, output, workers)
            said.append((output / "manifest.jsonl").read_text("utf-8"))
            runs[workers].append(figures)
            tell(f"{workers} workers: {figures['seconds']:.1f} s")
    if len({*said}) != 1:
        raise UserError("the number of workers changes what is said; that is a defect")
    return {
        "texts": arguments.texts,
        "audio_seconds": audio_seconds(said[0]),
        "runs": [{"workers": workers, **each} for workers in runs for each in runs[workers]],
    }


def read_texts(count: int) -> list[str]:
    """Those of all files for judging, again and again."""
    texts = [
        line
        for path in sorted(SENTENCES.glob("*.txt"))
        for line in path.read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    return (texts * (count // len(texts) + 1))[:count]


def speak(engine: Path, table: Path, output: Path, workers: int) -> dict[str, float]:
    """Seconds of a run, and of processors that worked for it."""
    options = ["--engine", engine, "--input", table, "--output", output, "--workers", workers]
    command = [sys.executable, "-m", "runtime.batch", *map(str, options)]
    before, start = _children_seconds(), time.monotonic()
    told = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - start
    if told.returncode:
        raise UserError(f"runtime.batch failed: {told.stderr.strip().splitlines()[-1]}")
    return {"seconds": seconds, "processor": _children_seconds() - before}


def _children_seconds() -> float:
    """That all processes which this one started, and has waited for, have worked."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def audio_seconds(manifest: str) -> float:
    return sum(json.loads(line)["seconds"] for line in manifest.splitlines())


def format_report(report: dict[str, Any]) -> str:
    """Medians of all rounds. The last column compares with the first number of workers."""
    by_workers: dict[int, list[dict[str, float]]] = {}
    for run in report["runs"]:
        by_workers.setdefault(run["workers"], []).append(run)
    medians = {
        workers: [statistics.median(run[name] for run in runs) for name in ("seconds", "processor")]
        for workers, runs in by_workers.items()
    }
    first = next(iter(medians.values()))[0]
    rows = [
        [
            str(workers),
            f"{seconds:.1f}",
            f"{report['audio_seconds'] / seconds:.1f}",
            f"{processor:.1f}",
            f"{first / seconds:.2f}",
        ]
        for workers, (seconds, processor) in medians.items()
    ]
    return markdown_table(TITLES, rows)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the table and write the report."""
    from formats.files.atomic import write_json

    with TemporaryDirectory() as folder:
        report = measure(arguments, Path(folder))
    write_json(arguments.output, report)
    print(format_report(report), end="")


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.serving.batches", "Compare batches with more and fewer workers."
    )
    add = parser.add_argument
    add("--engine", type=Path, default=Path("demo-engine"), metavar="DIR", help="the bundle")
    add("--workers", type=whole_from(1), nargs="+", default=WORKERS, metavar="N", help=_WORKERS)
    add_count(parser, "--texts", "in the table", default=1000)
    add_count(parser, "--rounds", "with each number of workers", default=2)
    add("--output", type=Path, default=Path("batches.json"), help="file of all figures")
    return parser


_WORKERS = "numbers to compare (default: 1 2)"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
