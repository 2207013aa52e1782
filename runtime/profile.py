"""`python -m runtime.profile`: how fast a bundle speaks, and where the time goes.

In: a bundle and a text. Out: a table, and JSON on request. `runtime.speed` measures.
"""

from __future__ import annotations

if __name__ == "__main__":
    import commands.early_interrupt  # noqa: F401 (for Ctrl-C during all other imports)

import argparse
import sys
from collections.abc import Sequence

from commands.arguments import CommandParser, command_parser
from commands.options import add_count
from commands.run import run_command
from formats.files.atomic import check_target, write_json
from runtime.speaking_options import add_engine_options, add_look_ahead
from runtime.speed import DEFAULT_TEXT, SpeedOptions, format_speed, measure_speed


def make_parser() -> CommandParser:
    parser = command_parser(
        "runtime.profile", "Measure how fast a bundle speaks, and where the time goes."
    )
    add_engine_options(parser)
    parser.add_argument("--text", default=DEFAULT_TEXT, help=f"default: {DEFAULT_TEXT}")
    parser.add_argument("--voice", metavar="NAME|FILE", help="a voice of the bundle, or a file")
    add_count(parser, "--runs", "how often the text is spoken and measured", default=5)
    add_count(parser, "--warmup", "runs before them, which do not count", default=1, least=0)
    add_count(parser, "--max-steps", "at most N steps for each sentence")
    add_look_ahead(parser)
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the table, and write the figures if asked to."""
    options = SpeedOptions(
        engine=arguments.engine,
        text=arguments.text,
        runs=arguments.runs,
        warmup=arguments.warmup,
        run_with=arguments.run_with,
        threads=arguments.threads,
        voice=arguments.voice,
        max_steps=arguments.max_steps,
        look_ahead=arguments.look_ahead,
    )
    if arguments.json:
        check_target(arguments.json)
    report = measure_speed(options)
    if arguments.json:
        write_json(arguments.json, report)
        print(f"wrote {arguments.json}", file=sys.stderr)
    print(format_speed(report))


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
