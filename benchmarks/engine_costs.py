"""The cost of building bundles of plans in the published size: the table in docs/gpu.md.

In: nothing. Out: a folder with random checkpoints and scales, and a table of the CPU time and peak
memory of each stage and the size of its result. Each stage runs in its own process. Bundles are
removed after they are measured, because three of them would not fit on a small disk. Scales come
from a little random speech and are of no other use. Graphs are not compared with PyTorch, as on a
device, which has none.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, add_output
from commands.run import run_command
from commands.tables import markdown_table
from runtime.bundle.names import BACKBONE, MTP_HEAD, PLAN_SUFFIX, PORTABLE, STANDARD, TENSORRT_RTX

NEEDED = ("torch", "scipy", "tensorrt_rtx")  # packages of the measured commands

PRECISIONS = ("fp16", "bf16", "int8", "fp8", "int4")
QUANTIZED = ("int8", "fp8", "int4")
DEFAULT_SM = 89
# The quickest methods, because the cost of building does not depend on the method.
QUICKEST = ("--method", "nearest", "--activations", "max", "--weights", "max")


@dataclass(frozen=True)
class Cost:
    """The cost of one process. cpu_seconds: user and system time of all threads."""

    cpu_seconds: float
    peak_memory_gb: float

    def __str__(self) -> str:
        return f"{self.cpu_seconds:.0f} s, {self.peak_memory_gb:.1f} GB"


@dataclass(frozen=True)
class Row:
    """One precision. calibration: None if the precision needs none. Sizes in MB."""

    precision: str
    calibration: Cost | None
    export: Cost
    plans: Cost
    engine_mb: float
    backbone_mb: float
    head_mb: float


def measure_costs(
    heads: int, precisions: Sequence[str], dialect: str, sm: int, output: Path
) -> list[Row]:
    """Write random checkpoints to `output` unless they are there, then build and measure.

    Raises:
        UserError: a stage failed; its own message is printed above.
    """
    tokens = output / "tokens.jsonl"
    if not tokens.is_file():
        _run("benchmarks.published_size", "--heads", heads, "--output", output)
    return [_measure_precision(precision, dialect, sm, output) for precision in precisions]


def _measure_precision(precision: str, dialect: str, sm: int, output: Path) -> Row:
    source: list[str | Path] = ["--model", output / "model", "--codec", output / "codec"]
    calibration, scales = None, output / f"scales-{dialect}-{precision}"
    graphs, engine = output / f"{dialect}-{precision}", output / f"engine-{precision}"
    of_precision = ["--precision", precision, "--dialect", dialect]
    words: list[str | Path] = []
    if precision in QUANTIZED:
        calibration = _run("calibration.run", *source, *of_precision, *QUICKEST, "--tokens",
                           output / "tokens.jsonl", "--output", scales)  # fmt: skip
        words = ["--calibration", scales]
    export = _run("export.build", *source, *of_precision, *words, "--no-compare",
                  "--output", graphs)  # fmt: skip
    plans = _run("export.build", "--target", TENSORRT_RTX, "--sm", sm, "--bundle", graphs,
                 "--output", engine)  # fmt: skip
    row = Row(
        precision,
        calibration,
        export,
        plans,
        sum(path.stat().st_size for path in engine.rglob("*") if path.is_file()) / 1e6,
        _plan_mb(engine, BACKBONE),
        _plan_mb(engine, MTP_HEAD),
    )
    for folder in (graphs, engine):
        shutil.rmtree(folder)
    return row


def _plan_mb(engine: Path, graph: str) -> float:
    return (engine / f"{graph}{PLAN_SUFFIX}").stat().st_size / 1e6


def _require_packages() -> None:
    """Raise `ModuleNotFoundError` now for packages that the measured commands need later."""
    for name in NEEDED:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _run(module: str, *arguments: str | Path | int) -> Cost:
    """Run a command of this project in a process of its own."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    print("$", shlex.join(["python", *command[1:]]), flush=True)
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"python -m {module} failed; see above")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6)


def format_rows(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    titles = ["precision", "calibration", "export", "plans", "bundle", "backbone", "head"]
    return markdown_table(titles, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    stages = [str(cost or "–") for cost in (row.calibration, row.export, row.plans)]
    sizes = [f"{size:,.0f} MB" for size in (row.engine_mb, row.backbone_mb, row.head_mb)]
    return [row.precision, *stages, *sizes]


def run(arguments: argparse.Namespace) -> None:
    """Measure all stages and print the table."""
    _require_packages()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = measure_costs(
        arguments.heads, arguments.precision, arguments.dialect, arguments.sm, arguments.output
    )
    print(format_rows(rows), end="")


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.engine_costs",
        "Measure the cost of building bundles of plans in the published size.",
    )
    add_count(parser, "--heads", "codes that a step makes", default=3)
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="(default: all)"
    )
    parser.add_argument(
        "--dialect", choices=STANDARD, default=PORTABLE, help=f"of the graphs (default: {PORTABLE})"
    )
    add_count(parser, "--sm", "compute capability of the GPU", default=DEFAULT_SM)
    add_output(parser, "working folder; checkpoints in it are kept")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
