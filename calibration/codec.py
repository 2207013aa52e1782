"""`python -m calibration.codec`: choose scales for a codec's decoder in fewer bits.

In: a codec, and a model and texts or tokens for frames to decode. Out: a directory that
`python -m export.build --codec-calibration` takes. Needs neither a GPU nor torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from calibration.arguments import add_data, add_scales, check_data, open_data
from commands.arguments import CommandParser, command_parser
from commands.run import run_command
from export.arguments import add_source
from formats.precisions import CODEC_FEW_BITS

DESCRIPTION = """\
Choose scales for the convolutions of a codec's decoder, for bundles of portable
graphs. The float32 model speaks the texts and its codec decodes them; scales are
chosen from what flows into the convolutions. Every fourth sentence is held out;
the signal-to-noise ratio of its audio against float32's is printed."""

EXAMPLES = """\
examples:
  the demo voice's codec in 8 bits, and plans with it:
    python -m calibration.codec --precision int8 --texts samples/calibration.txt \\
        --output codec-scales
    python -m export.build --target tensorrt-rtx --codec-calibration codec-scales
  at least 20 dB against float32, with some convolutions left in float32:
    python -m calibration.codec --precision fp8 --texts samples/calibration.txt \\
        --snr 20 --output codec-scales"""


def run(arguments: argparse.Namespace) -> None:
    """Calibrate a codec and print how far its audio is from float32. Raises `UserError`."""
    check_data(arguments)
    from calibration.codec_decoder import CodecDecoder
    from calibration.goals import SignalToNoise
    from calibration.methods.quantize import Recipe
    from calibration.pipeline import CalibrationOptions, calibrate
    from export.graph.onnxruntime_version import check_onnxruntime

    goal = None if arguments.snr is None else SignalToNoise.parse(arguments.snr)
    recipe = Recipe(arguments.precision, "nearest", arguments.activations, arguments.weights)
    sources, data = open_data(arguments)
    check_onnxruntime()  # before the model speaks, which takes a while
    options = CalibrationOptions(recipe, data, arguments.output, threads=arguments.threads)
    record = calibrate(CodecDecoder(sources), options, goal)
    print(
        f"{arguments.output}: {record.precision}, {len(record.linears)} convolutions, "
        f"{len(record.excluded)} left as they are; held-out audio: {record.snr_db:.1f} dB"
    )


def make_parser() -> CommandParser:
    parser = command_parser("calibration.codec", DESCRIPTION, more=EXAMPLES)
    parser.add_argument(
        "--precision", choices=CODEC_FEW_BITS, required=True, help="of weights and inputs"
    )
    add_data(parser)
    add_source(parser.add_argument_group("model (default: the demo voice)"))
    add_scales(parser.add_argument_group("method"))
    parser.add_argument("--snr", type=float, metavar="DB", help=_SNR_HELP)
    return parser


_SNR_HELP = """leave the most sensitive convolutions in float32 until held-out audio has this
signal-to-noise ratio against float32's"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
