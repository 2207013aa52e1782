"""`python -m calibration.compare`: how far are bundles of fewer bits from the float32 one, and how
much smaller and faster?

In: the float32 bundle, others of the same model, and texts. Out: a table, and JSON on request. The
work is in `calibration.comparison`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_cli
from formats.files.atomic import check_target, write_atomically

if TYPE_CHECKING:
    from calibration.comparison import Comparison

DEFAULT_RUNS = 3
TITLES = (
    *("engine", "precision", "dialect", "KL, nats", "same best code", "backbone + head"),
    *("step", "head", "real-time factor", "peak memory"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    return run_cli(_command, argv)


def _command(argv: Sequence[str] | None) -> None:
    arguments = _make_parser().parse_args(argv)
    if arguments.json:
        check_target(arguments.json)
    engines = _parse_engines(arguments.engine)
    from calibration.comparison import compare
    from calibration.measurement.utterances import read_texts

    texts = read_texts(arguments.texts)[: arguments.limit]
    compared = compare(arguments.reference, engines, arguments.model, texts, arguments.runs)
    print(format_table(compared))
    if arguments.json:
        content = json.dumps([asdict(one) for one in compared], indent=2) + "\n"
        write_atomically(arguments.json, content.encode())


def format_table(compared: Sequence[Comparison]) -> str:
    """Markdown."""
    lines = [TITLES, ("---",) * len(TITLES), *map(_cells, compared)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


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


def _make_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m calibration.compare",
        description="Compare bundles of fewer bits with the float32 bundle of the same model.",
    )
    add = parser.add_argument
    add("--reference", type=Path, required=True, metavar="DIR", help="the float32 bundle")
    add("--engine", action="append", required=True, metavar="NAME=DIR", help="another; repeat it")
    add("--model", type=Path, required=True, metavar="DIR", help="the checkpoint of all of them")
    add(
        "--texts", type=Path, nargs="+", required=True, metavar="FILE", help="sentences, one a line"
    )
    add("--limit", type=int, metavar="N", help="only the first N sentences")
    add("--runs", type=int, default=DEFAULT_RUNS, metavar="N", help=_RUNS_HELP)
    add("--json", metavar="FILE", help="write all figures")
    return parser


_RUNS_HELP = f"runs of runtime.profile for each engine; 0: no speed (default: {DEFAULT_RUNS})"


if __name__ == "__main__":
    sys.exit(main())
