"""`python -m runtime.profile`: how fast bundles speak, and where the time goes.

In: bundles and a text. Out: a table; and on request a report as JSON, a page, and a trace.
`runtime.profiling` measures.
"""

from __future__ import annotations

if __name__ == "__main__":
    import commands.early_interrupt  # noqa: F401 (for Ctrl-C during all other imports)

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.options import add_count, add_engine, whole_from
from commands.run import run_command
from formats.files.atomic import check_target
from runtime.engines.choices import add_run_with
from runtime.speaking_options import DEFAULT_ENGINE, MEASURED_TEXT, add_look_ahead

if TYPE_CHECKING:
    from runtime.profiling.report import Report

DESCRIPTION = """\
Measure how fast a bundle speaks, where the time goes, and how far that is from
what the machine can do. Other bundles (--against) take turns with it, so that
what disturbs one disturbs all."""

EXAMPLES = """\
examples:
  where does the time go, in a terminal and as a page to look at?
    python -m runtime.profile --engine engine --html profile.html
  is int8 faster than fp32, and by how much?
    python -m runtime.profile --engine engine-fp32 --against engine-int8
  long texts, many listeners, one thread or two:
    python -m runtime.profile --engine engine --contexts 128 512 2048 \\
        --rows 1 4 16 --threads 1 2
  why was this utterance late? open the trace in ui.perfetto.dev:
    python -m runtime.profile --engine engine --trace profile.pftrace
  a page of a report from another machine:
    python -m runtime.profile --report profile.json --html profile.html"""


def make_parser() -> CommandParser:
    parser = command_parser("runtime.profile", DESCRIPTION, more=EXAMPLES)
    add = parser.add_argument
    add_engine(parser, DEFAULT_ENGINE)
    add("--against", action="append", default=[], metavar="DIR", help=_AGAINST_HELP)
    add("--report", metavar="FILE", help="show a report that --json wrote; measure nothing")
    add_run_with(parser)
    add("--threads", type=whole_from(1), nargs="+", metavar="N", help=_THREADS_HELP)
    add("--text", default=MEASURED_TEXT, help=f"default: {MEASURED_TEXT}")
    add("--voice", metavar="NAME|FILE", help="a voice of the bundle, or a file")
    add_count(parser, "--runs", "how often the text is spoken and measured", default=5)
    add_count(parser, "--warmup", "runs before them, which do not count", default=1, least=0)
    add_count(parser, "--max-steps", "at most N steps for each sentence")
    add_look_ahead(parser)
    add("--contexts", type=whole_from(1), nargs="+", default=[], metavar="N", help=_CONTEXTS_HELP)
    add("--rows", type=whole_from(1), nargs="+", default=[], metavar="N", help=_ROWS_HELP)
    add("--layers", action="store_true", help="measure what each layer of the model costs, too")
    add("--json", metavar="FILE", help="write the report: all figures")
    add("--html", metavar="FILE", help="write the report as a page, which needs no network")
    add("--trace", metavar="FILE", help="write one utterance as a trace for ui.perfetto.dev")
    return parser


_AGAINST_HELP = "another bundle to compare with, in turn; can be repeated"
_THREADS_HELP = """CPU threads of the engine (default: the physical cores); several numbers are
compared with the first"""
_CONTEXTS_HELP = "measure a step after N positions, for each N"
_ROWS_HELP = "measure a step of N texts side by side, for each N"


def run(arguments: argparse.Namespace) -> None:
    """Measure, write the files that were asked for, and print the table."""
    from runtime.profiling.report import read_report
    from runtime.profiling.text import format_report

    for file in (arguments.json, arguments.html, arguments.trace):
        if file:
            check_target(file)
    report = read_report(arguments.report) if arguments.report else _measure(arguments)
    for file, write in _list_files(arguments):
        write(file, report)
        print(f"wrote {file}", file=sys.stderr)
    print(format_report(report))


def _measure(arguments: argparse.Namespace) -> Report:
    from runtime.profiling.measuring import ProfileOptions, measure

    options = ProfileOptions(
        engines=(arguments.engine, *arguments.against),
        text=arguments.text,
        runs=arguments.runs,
        warmup=arguments.warmup,
        run_with=arguments.run_with,
        threads=tuple(arguments.threads or (None,)),
        voice=arguments.voice,
        max_steps=arguments.max_steps,
        look_ahead=arguments.look_ahead,
        contexts=tuple(arguments.contexts),
        rows=tuple(arguments.rows),
        layers=arguments.layers,
    )
    return measure(options)


def _list_files(
    arguments: argparse.Namespace,
) -> Iterator[tuple[str, Callable[[str, Report], None]]]:
    if arguments.json:
        from runtime.profiling.report import write_report

        yield arguments.json, write_report
    if arguments.html:
        from runtime.profiling.page import write_page

        yield arguments.html, write_page
    if arguments.trace:
        from runtime.profiling.trace import write_trace

        yield arguments.trace, write_trace


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
