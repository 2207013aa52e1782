"""Judges the demo voice in fewer bits: the table in docs/calibration.md.

In: the demo voice. Out: printed tables, and a folder with calibrations, bundles, `comparison.json`
and, with `--judge`, the reports of `python -m evaluation.speech`.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, add_output
from commands.run import run_command
from runtime.bundle.names import BASIC, STANDARD

SAMPLES = Path(__file__).parents[1] / "samples"
TEXTS = SAMPLES / "calibration.txt"
SENTENCES = SAMPLES / "evaluation" / "everyday.txt"
DEFAULT_SENTENCES = 10
HALVES = ("fp16", "bf16")  # in the standard dialects; rounding as on a GPU is emulated
VARIANTS = (  # precision, dialect
    ("int8", "ort"),
    ("int4", "ort"),
    ("int8", "portable"),
    ("fp8", "portable"),
    ("int4", "portable"),
    ("int8", "basic"),
    ("fp8", "basic"),
    ("int4", "basic"),
)


def quantize_voice(heads: int, output: Path, sentences: int, runs: int, judge: bool) -> None:
    """Calibrate, export and compare all variants of one demo voice."""
    output.mkdir(parents=True, exist_ok=True)
    model = SAMPLES / "demo_voice" / f"{heads}-heads"
    reference = output / "fp32"
    of_model = ["--heads", str(heads)]
    _run("export.build", *of_model, "--target", "onnxruntime", "--output", reference)
    engines = []
    for precision, dialect in itertools.product(HALVES, STANDARD):
        name = f"{precision}-{dialect}"
        original, engine = output / f"{name}-original", output / name
        _run("export.build", *of_model, "--precision", precision, "--dialect", dialect,
             "--output", original)  # fmt: skip
        _run("export.emulate", original, "--output", engine)
        engines += ["--engine", f"{engine.name}={engine}"]
    for precision, dialect in VARIANTS:
        scales, engine = _scales(output, precision, dialect), output / f"{precision}-{dialect}"
        if not scales.is_dir():
            judged = ["--dialect", dialect]
            _run("calibration.run", *of_model, *judged, "--precision", precision, "--texts", TEXTS,
                 "--output", scales)  # fmt: skip
        _run("export.build", *of_model, "--precision", precision, "--dialect", dialect,
             "--calibration", scales, "--output", engine)  # fmt: skip
        engines += ["--engine", f"{engine.name}={engine}"]
    limit = ["--limit", str(sentences)]
    _run("calibration.compare", "--reference", reference, *engines, "--model", model, "--texts",
         SENTENCES, *limit, "--runs", str(runs), "--json", output / "comparison.json")  # fmt: skip
    if judge:
        engines = ["--engine", f"fp32={reference}", *engines]
        _run("evaluation.speech", *limit, *engines, "--output", output / "judged")


def _scales(output: Path, precision: str, dialect: str) -> Path:
    """The folder of a calibration: one for all dialects, but TensorRT has larger blocks of int4."""
    own = f"-{dialect}" if (precision, dialect) == ("int4", BASIC) else ""
    return output / f"scales-{precision}{own}"


def _run(module: str, *arguments: str | Path) -> None:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    print("$", shlex.join(["python", *command[1:]]), flush=True)
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"python -m {module} failed; see above")


def run(arguments: argparse.Namespace) -> None:
    """Calibrate, export and compare."""
    quantize_voice(
        arguments.heads, arguments.output, arguments.sentences, arguments.runs, arguments.judge
    )


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.quantized_voice", "Compare the demo voice in fewer bits with float32."
    )
    add_count(parser, "--heads", "which demo voice", default=6)
    add_output(parser, "working folder; calibrations in it are kept")
    add_count(parser, "--sentences", "sentences to compare on", default=DEFAULT_SENTENCES)
    add_count(parser, "--runs", "runs of runtime.profile; 0: no speed", default=3, least=0)
    parser.add_argument(
        "--judge", action="store_true", help="also recognise the speech and predict its MOS"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
