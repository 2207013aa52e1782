"""Command line: how fast an engine speaks, and where the time goes.

In: an engine directory and a text. Out: a table, and JSON on request. `runtime.speed` measures.
"""

from __future__ import annotations

if __name__ == "__main__":
    import commands.early_interrupt  # noqa: F401 (for Ctrl-C during all other imports)

import argparse
import json
import sys
from collections.abc import Sequence

from commands.arguments import CommandParser
from commands.run import run_cli
from formats.files.atomic import check_target, write_atomically
from runtime.engines.choices import add_run_with
from runtime.speed import DEFAULT_TEXT, SpeedOptions, format_speed, measure_speed


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m runtime.profile", description="Measure how fast an engine speaks."
    )
    parser.add_argument("--engine", default="engine", metavar="DIR", help="default: engine")
    add_run_with(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="default: the physical cores")
    parser.add_argument("--text", default=DEFAULT_TEXT)
    parser.add_argument("--voice", metavar="NAME|FILE")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--warmup", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--max-steps", type=int, metavar="N", help="bound for each sentence")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    return parser.parse_args(argv)


def profile(argv: Sequence[str] | None) -> None:
    arguments = parse_arguments(argv)
    options = SpeedOptions(
        engine=arguments.engine,
        text=arguments.text,
        runs=arguments.runs,
        warmup=arguments.warmup,
        run_with=arguments.run_with,
        threads=arguments.threads,
        voice=arguments.voice,
        max_steps=arguments.max_steps,
    )
    if arguments.json:
        check_target(arguments.json)
    report = measure_speed(options)
    if arguments.json:
        write_atomically(arguments.json, (json.dumps(report, indent=2) + "\n").encode())
        print(f"wrote {arguments.json}", file=sys.stderr)
    print(format_speed(report))


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(profile, argv)


if __name__ == "__main__":
    sys.exit(main())
