"""How fast a model can be at best, before anything is exported: docs/how-fast.md.

In: a checkpoint's folder, of which only `config.json` is read, and maybe a bandwidth. Out: a table:
the bytes that a step reads, and the least that this takes on devices by their published bandwidth.
Everything is computed, nothing is measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.options import number_above
from commands.run import run_command
from commands.tables import text_table

if TYPE_CHECKING:
    from formats.checkpoint.language_model_config import LanguageModelConfig


def run(arguments: argparse.Namespace) -> None:
    """Print the table."""
    from benchmarks.device_page.bandwidths import DEVICES
    from formats.checkpoint.language_model_config import read_lm_config

    config = read_lm_config(arguments.model)
    bandwidths = {device.name: device.bytes_per_second for device in DEVICES}
    if arguments.gb_per_second is not None:
        own = f"yours, {arguments.gb_per_second:g} GB/s"
        bandwidths = {own: 1e9 * arguments.gb_per_second}
    print(format_estimate(config, bandwidths), end="")


def format_estimate(config: LanguageModelConfig, bandwidths: Mapping[str, float]) -> str:
    """The tables. bandwidths: bytes a second, by the name of the device."""
    from benchmarks.device_page.floors import FLOOR_FORMATS, least_real_time_factor, step_bytes

    sizes = {form: step_bytes(config, form) for form in FLOOR_FORMATS}
    rows = [
        [name, *(f"{1e3 * size / bandwidth:.3g}" for size in sizes.values())]
        + [f"{least_real_time_factor(size / bandwidth, config):.2g}" for size in sizes.values()]
        for name, bandwidth in bandwidths.items()
    ]
    steps = config.streams.frames_per_second * config.streams.count / config.heads
    read = ", ".join(f"{form} {size / 1e6:.1f} MB" for form, size in sizes.items())
    titles = [f"{form}, ms" for form in sizes] + [f"{form}, RTF" for form in sizes]
    return (
        f"a step reads: {read}\n{steps:g} steps for a second of speech\n\n"
        "Computed, not measured: the least time of a step, and the least real-time factor of all "
        "steps.\nThe codec, and the keys and values of the context, come on top. A model that fits "
        "into the\nprocessor's caches is not read from memory: then its products are the limit.\n\n"
        f"{text_table(['', *titles], rows)}"
    )


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.estimate", "Compute the least time of a step from a checkpoint's shapes."
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="directory of the checkpoint"
    )
    parser.add_argument(
        "--gb-per-second",
        type=number_above(0),
        metavar="N",
        help="bandwidth of your device's memory (default: a list of devices)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
