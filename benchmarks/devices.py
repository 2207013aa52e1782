"""What devices do: docs/devices.md, its picture, the README's table of speed, that of docs/gpu.md.

In: the reports of `benchmarks/reports`, as `python -m runtime.profile --json` writes them. Out: the
blocks between markers in these pages, and `docs/figures/devices.svg`. `--check` writes nothing and
fails if a page is not what the reports make. `--keep FILE --name NAME` first puts a report there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.run import run_command

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "benchmarks" / "reports"
PAGE, README, GPU_PAGE = Path("docs/devices.md"), Path("README.md"), Path("docs/gpu.md")
PICTURE = Path("docs/figures/devices.svg")


def make_files(root: Path, reports: Path) -> dict[Path, str]:
    """Every file as the reports make it, by its path below `root`.

    Raises:
        UserError: a report is none, or is called wrongly; a page has lost a marker.
    """
    from benchmarks.device_page.collection import read_entries
    from benchmarks.device_page.page import floor_tables, measured_table, readme_table
    from benchmarks.device_page.picture import draw, make_panels
    from benchmarks.device_page.plan_floors import plan_floor_table

    entries = read_entries(reports)
    blocks: Mapping[Path, Mapping[str, str]] = {
        PAGE: {"reports": measured_table(entries), "floors": floor_tables()},
        README: {"reports": readme_table(entries)},
        GPU_PAGE: {"plans": plan_floor_table()},
    }
    made = {path: _fill(root / path, block) for path, block in blocks.items()}
    return made | {PICTURE: draw(make_panels(entries))}


def check_files(root: Path, reports: Path) -> None:
    """Raises `UserError` for the first file that is not what the reports make."""
    for path, content in make_files(root, reports).items():
        file = root / path
        if not file.is_file() or file.read_text(encoding="utf-8") != content:
            raise UserError(
                f"{path}: is not what the reports make; write it: python -m benchmarks.devices"
            )


def run(arguments: argparse.Namespace) -> None:
    """Keep a report if asked to; then write the files, or check them."""
    from benchmarks.device_page.collection import keep_report
    from formats.files.atomic import write_text

    if (arguments.keep is None) != (arguments.name is None):
        raise UserError("--keep FILE and --name NAME go together")
    if arguments.check:
        check_files(ROOT, REPORTS)
        print("all pages are what the reports make")
        return
    if arguments.keep is not None:
        print(f"wrote {keep_report(arguments.keep, REPORTS, arguments.name)}")
    for path, content in make_files(ROOT, REPORTS).items():
        write_text(ROOT / path, content)
        print(f"wrote {path}")


def _fill(path: Path, blocks: Mapping[str, str]) -> str:
    """The file's text with new blocks between its markers."""
    text = path.read_text(encoding="utf-8")
    for name, content in blocks.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise UserError(f"{path}: has no lines {begin.strip()} … {end}; put them back")
        text = f"{before}{begin}\n{content}\n{end}{after}"
    return text


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.devices", "Write the page of devices from the reports that are kept."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is old")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="first keep this report")
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="what to call it: DEVICE[-N-threads]-demo|published[-N-heads]-PRECISION",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
