"""Whether a new report is slower than an old one, beyond noise.

In: two reports, as `python -m runtime.profile --json` and `make bench` write them. Out: sentences,
a table, and an exit status: 0 same or better, 1 slower, 2 not comparable (another machine, bundle
or schema). `benchmarks.regressions` decides.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import number_above
from commands.run import run_command
from commands.tables import text_table

if TYPE_CHECKING:
    from benchmarks.regressions import Change
    from runtime.profiling.report import Report

EXIT_SLOWER = 1
TOLERANCE = 0.03


class Slower(Exception):
    """Something is slower: the exit status says so."""


def run(arguments: argparse.Namespace) -> None:
    """Compare and print. Raises `Slower` when all is printed."""
    from benchmarks.regressions import compare_reports, count_verdicts, reasons_against
    from runtime.profiling.report import read_report

    old, new = read_report(arguments.old), read_report(arguments.new)
    reasons = reasons_against(old, new)
    if reasons and not arguments.force:
        raise UserError(
            f"{arguments.old} and {arguments.new} are not comparable: {'; '.join(reasons)}; "
            "--force compares nevertheless"
        )
    changes = compare_reports(old, new, arguments.tolerance)
    if not changes:
        raise UserError(f"{arguments.old} and {arguments.new} are not comparable: no common bundle")
    print(format_changes(changes, _remarks(old, new, reasons, changes)), end="")
    if count_verdicts(changes)["slower"]:
        raise Slower


def format_changes(changes: Sequence[Change], remarks: Sequence[str]) -> str:
    """Remarks, a sentence for each change, and the table."""
    sentences = [change.sentence for change in changes if change.sentence]
    rows = [
        [
            f"{change.subject}: {change.figure}",
            change.old,
            change.new,
            "" if change.ratio is None else f"{change.ratio:.3f}",
            change.verdict,
        ]
        for change in changes
    ]
    table = text_table(["figure, median", "old", "new", "new / old", ""], rows)
    said = sentences or ["Nothing has changed beyond noise."]
    return "\n".join([*(f"note: {remark}" for remark in remarks), *said, "", table])


def _remarks(
    old: Report, new: Report, reasons: Sequence[str], changes: Sequence[Change]
) -> list[str]:
    from benchmarks.regressions import count_verdicts, other_versions

    remarks = [f"compared nevertheless: {reason}" for reason in reasons]
    remarks += other_versions(old, new)
    for name, report in (("old", old), ("new", new)):
        remarks += [f"{name} report: {warning}" for warning in report.noise.warnings]
    noisy = count_verdicts(changes)["noise"]
    if noisy:
        remarks.append(
            f"figures that changed no more than the machine: {noisy}; measure both again"
        )
    return remarks


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.compare",
        "Say what became slower between two reports of a profile.",
        more="Exit status: 0 same or better, 1 slower, 2 not comparable.",
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="a report, as a profile wrote it")
    parser.add_argument("new", type=Path, metavar="NEW", help="a later one")
    parser.add_argument(
        "--tolerance",
        type=number_above(0),
        default=TOLERANCE,
        metavar="SHARE",
        help="changes of a median up to this share of it do not count (default: 0.03)",
    )
    parser.add_argument(
        "--force", action="store_true", help="compare reports of other machines or bundles as well"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    try:
        return run_command(make_parser, run, argv)
    except Slower:
        return EXIT_SLOWER


if __name__ == "__main__":
    sys.exit(main())
