"""`python -m calibration.run`: measure a model while it speaks, choose scales for fewer bits.

In: a checkpoint and its codec, texts or tokens. Out: a directory that `python -m export.build
--calibration` takes. Needs no GPU and no torch; the float32 model runs in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import UserError, run_cli

DEMO_HEADS = 6
PRECISIONS = ("int8", "fp8", "int4")
DIALECTS = ("ort", "portable")

DESCRIPTION = """\
Choose scales for a model in fewer bits. The float32 model speaks the texts; what
flows into its matrix products decides about scales, smoothing and rounding. Every
fourth sentence is held out and used to compare the result with the original."""

EXAMPLES = """\
examples:
  the demo voice in 4 bits, for the CPU:
    python -m calibration.run --precision int4 --texts samples/calibration.txt --output scales
    python -m export.build --precision int4 --calibration scales
  a checkpoint for TensorRT in FP8, no further from float32 than 0.01 nats:
    python -m calibration.run --model my-model --codec facodec --voice anna=anna.wav \\
        --precision fp8 --dialect portable --texts texts.txt --budget kl=0.01 --output scales"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    return run_cli(_command, argv)


def _command(argv: Sequence[str] | None) -> None:
    arguments = _make_parser().parse_args(argv)
    if bool(arguments.texts) == (arguments.tokens is not None):
        raise UserError("give --texts FILE … to be spoken, or --tokens FILE to be followed")
    if arguments.precision == "fp8" and arguments.dialect == "ort":
        raise UserError("ONNX Runtime's own dialect has no fp8; add --dialect portable")
    from calibration.calibrate import CalibrationOptions, calibrate
    from calibration.methods import Recipe
    from calibration.sensitivity import Budget
    from calibration.utterances import read_texts
    from export.sources import find_sources, open_sources

    recipe = Recipe(
        arguments.precision,
        arguments.method,
        arguments.activations,
        arguments.weights,
        arguments.block,
    )
    options = CalibrationOptions(
        recipe,
        output=arguments.output,
        texts=read_texts(arguments.texts) if arguments.texts else (),
        tokens=arguments.tokens,
        dialect=arguments.dialect,
        sensitivity=arguments.sensitivity,
        budget=Budget.parse(arguments.budget) if arguments.budget else None,
        threads=arguments.threads,
    )
    folders = find_sources(arguments.model, arguments.codec, arguments.voice, arguments.heads)
    wanted = arguments.heads if arguments.model is None else None
    record = calibrate(open_sources(folders, wanted), options)
    print(
        f"{arguments.output}: {record.precision}, {len(record.linears)} weights, "
        f"{len(record.excluded)} left as they are; held-out steps: KL "
        f"{record.kl_divergence:.4f} nats a code, {record.agreement:.1%} of best codes the same"
    )


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m calibration.run",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--precision", choices=PRECISIONS, required=True, help="what weights are to become")
    add("--texts", type=Path, nargs="+", metavar="FILE", help="sentences, one a line")
    add("--tokens", type=Path, metavar="FILE", help="recorded frames to follow instead (.jsonl)")
    add("--output", type=Path, required=True, metavar="DIR", help="directory to write or replace")
    add("--threads", type=int, default=1, metavar="N", help="for each operator (default: 1)")
    _add_sources(parser.add_argument_group("model (default: the demo voice)"))
    _add_method(parser.add_argument_group("method"))
    _add_judgement(parser.add_argument_group("judgement"))
    return parser


def _add_sources(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", type=Path, metavar="DIR", help="checkpoint")
    add("--codec", type=Path, metavar="DIR", help="codec of its tokens")
    add("--voice", action="extend", nargs="+", default=[], metavar="NAME=FILE", help=_VOICE_HELP)
    add("--heads", type=int, default=DEMO_HEADS, metavar="N", help="which demo voice (default: 6)")


def _add_method(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--method", choices=("nearest", "smoothquant", "awq", "gptq"), help=_METHOD_HELP)
    add(
        "--activations",
        choices=("max", "percentile", "entropy", "mse"),
        default="mse",
        help="how the scale of a layer's inputs is found, int8 and fp8 (default: mse)",
    )
    add("--weights", choices=("max", "mse"), default="mse", help="the same for weights")
    add("--block", type=int, default=32, metavar="N", help=_BLOCK_HELP)


def _add_judgement(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--dialect", choices=DIALECTS, default="ort", help=_DIALECT_HELP)
    add("--sensitivity", action="store_true", help=_SENSITIVITY_HELP)
    add("--budget", metavar="KIND=VALUE", help=_BUDGET_HELP)


_VOICE_HELP = "voices to speak with, for a speaker-aware model"
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
