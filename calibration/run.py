"""`python -m calibration.run`: measure a model while it speaks, and choose scales for fewer bits.

In: a checkpoint and its codec, texts or tokens. Out: a directory that `python -m export.build
--calibration` takes. Needs neither a GPU nor torch: the float32 model runs in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from calibration.arguments import add_data, add_scales, check_data, open_data
from calibration.methods.choices import BLOCKS, METHOD_NAMES, METHODS
from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import Options, add_count
from commands.run import run_command
from export.arguments import add_source
from formats.precisions import FEW_BITS, TENSORRT_BLOCKS
from runtime.bundle.names import BASIC, DIALECTS, ORT

DESCRIPTION = """\
Choose scales for a model in fewer bits. The float32 model speaks the texts; from
what flows into its matrix products, scales, smoothing and rounding are chosen.
Every fourth sentence is held out to compare the result with the original."""

EXAMPLES = """\
examples:
  the demo voice in 4 bits, for the CPU:
    python -m calibration.run --precision int4 --texts samples/calibration.txt --output scales-int4
    python -m export.build --precision int4 --calibration scales-int4 --output engine-int4
  a checkpoint for TensorRT in FP8, no further from float32 than 0.01 nats:
    python -m calibration.run --model my-model --codec facodec --voice anna=anna.wav \\
        --precision fp8 --dialect portable --texts texts.txt --budget kl=0.01 --output scales-fp8"""


def run(arguments: argparse.Namespace) -> None:
    """Calibrate a language model and print how far it is from float32. Raises `UserError`."""
    check_data(arguments)
    if arguments.precision == "fp8" and arguments.dialect == ORT:
        raise UserError("ONNX Runtime's own dialect has no fp8; add --dialect portable")
    from calibration.goals import Budget
    from calibration.language_model import LanguageModel
    from calibration.methods.quantize import Recipe
    from calibration.pipeline import CalibrationOptions, calibrate

    recipe = Recipe(
        arguments.precision,
        arguments.method,
        arguments.activations,
        arguments.weights,
        _read_block(arguments),
    )
    goal = Budget.parse(arguments.budget) if arguments.budget else None
    sources, data = open_data(arguments)
    options = CalibrationOptions(
        recipe, data, arguments.output, arguments.sensitivity, arguments.threads
    )
    record = calibrate(LanguageModel(sources, arguments.dialect), options, goal)
    print(
        f"{arguments.output}: {record.precision}, {len(record.linears)} weights, "
        f"{len(record.excluded)} left as they are; held-out steps: KL "
        f"{record.kl_divergence:.4f} nats a code, {record.agreement:.1%} of best codes the same"
    )


def _read_block(arguments: argparse.Namespace) -> int:
    """The block that was typed, or the smallest that the engines of the dialect have."""
    for_tensorrt = arguments.dialect == BASIC
    if arguments.block is None:
        return TENSORRT_BLOCKS[0] if for_tensorrt else BLOCKS[0]
    block: int = arguments.block
    if for_tensorrt and arguments.precision == "int4" and block not in TENSORRT_BLOCKS:
        raise UserError(f"--block {block}: TensorRT has {_or(TENSORRT_BLOCKS)}")
    return block


def _or(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))


def make_parser() -> CommandParser:
    parser = command_parser("calibration.run", DESCRIPTION, more=EXAMPLES)
    parser.add_argument(
        "--precision", choices=FEW_BITS, required=True, help="number format of the weights"
    )
    add_data(parser)
    add_source(parser.add_argument_group("model (default: the demo voice)"))
    _add_method(parser.add_argument_group("method"))
    _add_judgement(parser.add_argument_group("judgement"))
    return parser


def _add_method(group: Options) -> None:
    group.add_argument("--method", choices=METHOD_NAMES, help=_METHOD_HELP)
    add_scales(group)
    add_count(group, "--block", _BLOCK_HELP)


def _add_judgement(group: Options) -> None:
    add = group.add_argument
    add("--dialect", choices=DIALECTS, default=ORT, help=_DIALECT_HELP)
    add("--sensitivity", action="store_true", help=_SENSITIVITY_HELP)
    add("--budget", metavar="KIND=VALUE", help=_BUDGET_HELP)


_METHOD_HELP = "; ".join(
    f"{precision}: {methods[0]} (default){''.join(f', {name}' for name in methods[1:])}"
    for precision, methods in METHODS.items()
)
_BLOCK_HELP = f"""int4: input channels that share a scale: {_or(BLOCKS)}; TensorRT has
{_or(TENSORRT_BLOCKS)} only (default: {BLOCKS[0]}, with --dialect {BASIC} {TENSORRT_BLOCKS[0]})"""
_DIALECT_HELP = f"""operators of the graphs that are compared with the original; the scales fit all
dialects (default: {ORT})"""
_SENSITIVITY_HELP = "quantize one weight at a time, and write a table and a picture of the costs"
_BUDGET_HELP = """keep the most sensitive weights as they are until kl=NATS or agreement=SHARE is
met on held-out steps; measures sensitivity"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
