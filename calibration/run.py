"""`python -m calibration.run`: measure a model while it speaks, choose scales for fewer bits.

In: a checkpoint and its codec, texts or tokens. Out: a directory that `python -m export.build
--calibration` takes. Needs no GPU and no torch; the float32 model runs in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from calibration.arguments import add_data, add_scales, add_sources, check_data, open_data
from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_cli

PRECISIONS = ("int8", "fp8", "int4")
DIALECTS = ("ort", "portable")

DESCRIPTION = """\
Choose scales for a model in fewer bits. The float32 model speaks the texts; what
flows into its matrix products decides about scales, smoothing and rounding. Every
fourth sentence is held out and used to compare the result with the original."""

EXAMPLES = """\
examples:
  the demo voice in 4 bits, for the CPU:
    python -m calibration.run --precision int4 --texts samples/calibration.txt --output scales-int4
    python -m export.build --precision int4 --calibration scales-int4 --output engine-int4
  a checkpoint for TensorRT in FP8, no further from float32 than 0.01 nats:
    python -m calibration.run --model my-model --codec facodec --voice anna=anna.wav \\
        --precision fp8 --dialect portable --texts texts.txt --budget kl=0.01 --output scales-fp8"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    return run_cli(_command, argv)


def _command(argv: Sequence[str] | None) -> None:
    arguments = _make_parser().parse_args(argv)
    check_data(arguments)
    if arguments.precision == "fp8" and arguments.dialect == "ort":
        raise UserError("ONNX Runtime's own dialect has no fp8; add --dialect portable")
    from calibration.calibrate import CalibrationOptions, calibrate
    from calibration.methods.quantize import Recipe
    from calibration.sensitivity import Budget

    recipe = Recipe(
        arguments.precision,
        arguments.method,
        arguments.activations,
        arguments.weights,
        arguments.block,
    )
    sources, texts = open_data(arguments)
    options = CalibrationOptions(
        recipe,
        output=arguments.output,
        texts=texts,
        tokens=arguments.tokens,
        dialect=arguments.dialect,
        sensitivity=arguments.sensitivity,
        budget=Budget.parse(arguments.budget) if arguments.budget else None,
        threads=arguments.threads,
    )
    record = calibrate(sources, options)
    print(
        f"{arguments.output}: {record.precision}, {len(record.linears)} weights, "
        f"{len(record.excluded)} left as they are; held-out steps: KL "
        f"{record.kl_divergence:.4f} nats a code, {record.agreement:.1%} of best codes the same"
    )


def _make_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m calibration.run",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--precision", choices=PRECISIONS, required=True, help="what weights are to become")
    add_data(parser)
    add_sources(parser.add_argument_group("model (default: the demo voice)"))
    _add_method(parser.add_argument_group("method"))
    _add_judgement(parser.add_argument_group("judgement"))
    return parser


def _add_method(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--method", choices=("nearest", "smoothquant", "awq", "gptq"), help=_METHOD_HELP)
    add_scales(group)
    add("--block", type=int, default=32, metavar="N", help=_BLOCK_HELP)


def _add_judgement(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--dialect", choices=DIALECTS, default="ort", help=_DIALECT_HELP)
    add("--sensitivity", action="store_true", help=_SENSITIVITY_HELP)
    add("--budget", metavar="KIND=VALUE", help=_BUDGET_HELP)


_METHOD_HELP = """int8: smoothquant (default), nearest; fp8: nearest; int4: gptq (default), awq,
nearest"""
_BLOCK_HELP = "int4: input channels that share a scale, 32, 64 or 128 (default: 32)"
_DIALECT_HELP = """whose graphs are compared with the original; scales are good for both (default:
ort)"""
_SENSITIVITY_HELP = "quantize each weight alone and write a table and a picture of what it costs"
_BUDGET_HELP = """keep the most sensitive weights as they are until kl=NATS or agreement=SHARE is
met on held-out steps; measures sensitivity"""


if __name__ == "__main__":
    sys.exit(main())
