"""`python -m runtime.gpu_check`: what a bundle does on this machine's GPU, in one report.

In: a bundle of plans, and a bundle of the same model for the CPU. Out: a folder with
`gpu-check.json` and `gpu-check.txt`, to attach to an issue, and `profile.json`, the profile alone,
as `runtime.profile --json` writes it. `runtime.gpu_report` makes the report.
The command needs a GPU; if it finds none, it says in one line what is missing.
"""

from __future__ import annotations

if __name__ == "__main__":
    import commands.early_interrupt  # noqa: F401 (for Ctrl-C during all other imports)

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, add_output, add_threads
from commands.run import run_command
from formats.files.atomic import write_json, write_text
from runtime.engines.tensorrt.gpu_driver import count_gpus

JSON_FILE, TEXT_FILE = "gpu-check.json", "gpu-check.txt"
PROFILE_FILE = "profile.json"  # as `runtime.profile --json` writes it


def make_parser() -> CommandParser:
    parser = command_parser(
        "runtime.gpu_check",
        "Check and measure a bundle on this machine's GPU; write one report.",
        more="`make gpu-check` builds both bundles first.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--engine", type=Path, metavar="DIR", help="directory of the bundle with plans for the GPU"
    )
    what.add_argument(
        "--print-target", action="store_true", help="print the options of export.build for this GPU"
    )
    what.add_argument(
        "--print-dialect",
        action="store_true",
        help="print the dialect of graphs that this GPU's TensorRT reads best",
    )
    what.add_argument(
        "--find-gpu", action="store_true", help="only say whether there is a GPU; needs no package"
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="DIR",
        help="directory of the bundle of the same model for the CPU; needed with --engine",
    )
    add_output(parser, "folder for the report", default="gpu-check")
    add_count(parser, "--runs", "how often a sentence is spoken and measured", default=5)
    add_threads(parser, "the bundle for the CPU (default: the physical cores)")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Find the GPU, print its target, or write the report."""
    if arguments.find_gpu:
        print(f"GPUs found: {count_gpus()}")
        return
    if arguments.print_target:
        from runtime.engines.tensorrt.this_gpu import target_options

        print(target_options())
        return
    if arguments.print_dialect:
        from runtime.engines.tensorrt.this_gpu import graphs_dialect

        print(graphs_dialect())
        return
    if arguments.reference is None:
        raise UserError("--reference is missing: name the bundle of the same model for the CPU")
    _write_report(arguments)


def _write_report(arguments: argparse.Namespace) -> None:
    from runtime.gpu_report import format_report, make_report, profile_of
    from runtime.profiling.report import write_report

    report = make_report(arguments.engine, arguments.reference, arguments.runs, arguments.threads)
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    text = format_report(report)
    write_json(folder / JSON_FILE, report)
    write_text(folder / TEXT_FILE, f"{text}\n")
    write_report(folder / PROFILE_FILE, profile_of(report))
    print(text)
    print(f"\nwrote {folder / JSON_FILE} and {folder / TEXT_FILE}: attach both to an issue")
    print(f"wrote {folder / PROFILE_FILE}: python -m runtime.profile --report shows it")


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
