"""The demo voice in fewer bits, judged: one command for the table in docs/calibration.md.

In: nothing but the demo voice. Out: `DIR` with calibrations, engines, `comparison.json` and,
with --judge, what `python -m evaluation.speech` makes of them; the tables are printed.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_cli

SAMPLES = Path(__file__).parents[1] / "samples"
TEXTS = SAMPLES / "calibration.txt"
SENTENCES = SAMPLES / "evaluation" / "everyday.txt"
DEFAULT_SENTENCES = 10
HALVES = ("fp16", "bf16")  # portable; rounding as on a GPU is emulated
VARIANTS = (  # precision, dialect
    ("int8", "ort"),
    ("int4", "ort"),
    ("int8", "portable"),
    ("fp8", "portable"),
    ("int4", "portable"),
)


def quantize_voice(heads: int, output: Path, sentences: int, runs: int, judge: bool) -> None:
    """Calibrate, export and compare all variants of one demo voice."""
    output.mkdir(parents=True, exist_ok=True)
    model = SAMPLES / "demo_voice" / f"{heads}-heads"
    reference = output / "fp32"
    of_model = ["--heads", str(heads)]
    _run("export.build", *of_model, "--output", reference)
    engines = []
    for precision in HALVES:
        original, engine = output / f"{precision}-original", output / f"{precision}-portable"
        _run("export.build", *of_model, "--precision", precision, "--dialect", "portable",
             "--output", original)  # fmt: skip
        _run("export.emulate", original, "--output", engine)
        engines += ["--engine", f"{engine.name}={engine}"]
    for precision, dialect in VARIANTS:
        scales, engine = output / f"scales-{precision}", output / f"{precision}-{dialect}"
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


def _run(module: str, *arguments: str | Path) -> None:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    print("$", shlex.join(["python", *command[1:]]), flush=True)
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"python -m {module} failed; see above")


def _command(argv: Sequence[str] | None) -> None:
    parser = CommandParser(
        prog="python -m benchmarks.quantized_voice", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add("--heads", type=int, default=6, metavar="N", help="which demo voice (default: 6)")
    add("--output", type=Path, required=True, metavar="DIR", help="calibrations in it are kept")
    add("--sentences", type=int, default=DEFAULT_SENTENCES, metavar="N", help="to compare on")
    add("--runs", type=int, default=3, metavar="N", help="of runtime.profile; 0: no speed")
    add("--judge", action="store_true", help="also recognise the speech and predict its MOS")
    options = vars(parser.parse_args(argv))
    quantize_voice(**options)


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(_command, argv)


if __name__ == "__main__":
    sys.exit(main())
