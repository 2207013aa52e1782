"""`python -m calibration.compare`: compare bundles of fewer bits with the float32 bundle.

In: the float32 bundle, others of the same model, and texts. Out: a table of differences, sizes and
speeds, and JSON on request. `calibration.comparison` does the work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, add_limit
from commands.run import run_command
from commands.tables import markdown_table
from formats.files.atomic import check_target, write_json

if TYPE_CHECKING:
    from calibration.comparison import Comparison

DEFAULT_RUNS = 3
TITLES = (
    *("engine", "precision", "dialect", "KL, nats", "same best code", "backbone + head"),
    *("step", "head", "real-time factor", "peak memory"),
)


def run(arguments: argparse.Namespace) -> None:
    """Compare the bundles and print a table. Raises `UserError`."""
    if arguments.json:
        check_target(arguments.json)
    engines = _parse_engines(arguments.engine)
    from calibration.comparison import compare
    from calibration.measurement.utterances import read_texts

    texts = read_texts(arguments.texts)[: arguments.limit]
    compared = compare(arguments.reference, engines, arguments.model, texts, arguments.runs)
    print(markdown_table(TITLES, [_cells(one) for one in compared]), end="")
    if arguments.json:
        write_json(arguments.json, [asdict(one) for one in compared])


def _cells(one: Comparison) -> tuple[str, ...]:
    speed = ["–"] * 4
    if one.step_ms is not None:
        speed = [
            f"{one.step_ms:.1f} ms",
            f"{one.head_ms:.1f} ms",
            f"{one.real_time_factor:.2f}",
            f"{one.peak_memory_mb:.0f} MiB",
        ]
    distance = f"{one.kl_divergence:.4f}", f"{one.agreement:.1%}", f"{one.size_mb:.1f} MB"
    return (one.name, one.precision, one.dialect, *distance, *speed)


def _parse_engines(arguments: Sequence[str]) -> dict[str, Path]:
    """NAME=DIR … -> directories by name. Raises `UserError` for anything else."""
    from calibration.comparison import REFERENCE

    engines: dict[str, Path] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not equals or not name or name == REFERENCE:
            raise UserError(f"--engine {argument}: write NAME=DIR, as in int8=engine-int8")
        if name in engines:
            raise UserError(f"--engine {argument}: there are two engines called {name}")
        engines[name] = Path(folder)
    return engines


def make_parser() -> CommandParser:
    parser = command_parser(
        "calibration.compare",
        "Compare bundles of fewer bits with the float32 bundle of the same model.",
    )
    add = parser.add_argument
    add("--reference", type=Path, required=True, metavar="DIR", help="the float32 bundle")
    add(
        "--engine",
        action="append",
        required=True,
        metavar="NAME=DIR",
        help="a bundle to compare; can be given several times",
    )
    add("--model", type=Path, required=True, metavar="DIR", help="the checkpoint of all of them")
    add(
        "--texts", type=Path, nargs="+", required=True, metavar="FILE", help="sentences, one a line"
    )
    add_limit(parser, "sentences")
    add_count(parser, "--runs", _RUNS_HELP, DEFAULT_RUNS, least=0)
    add("--json", metavar="FILE", help="write all figures")
    return parser


_RUNS_HELP = "runs of runtime.profile for each bundle; 0 leaves speed out"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
