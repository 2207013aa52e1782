"""Train a speech language model: `python -m train.lm --config FILE --output DIR`.

In: a YAML file (train/language_model_training/settings.py), tokens JSONL, optionally a base model
and a codec. Out: a checkpoint directory (train/language_model_training/run.py). The same command
goes on where it stopped; `--resume` continues a run with other settings.

On several processes: `torchrun --nproc-per-node N -m train.lm --config FILE --output DIR`. On a CPU
with glibc, `MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000` in the environment makes it
faster, because freed memory is then kept instead of returned and requested again.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.interruption import Interruption
from commands.next_step import export_command, print_next
from commands.options import GOES_ON, add_max_minutes, add_output, add_resume
from commands.run import run_command


def run(arguments: argparse.Namespace) -> None:
    """Train, or go on with the training. Raises `UserError`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    interruption = Interruption(arguments.max_minutes)

    from train.language_model_training.settings import describe_settings, read_located_settings

    inputs = describe_settings(arguments.config)
    settings = read_located_settings(arguments.config)

    from train.language_model_training.run import train

    is_written = train(settings, arguments.output, arguments.resume, interruption, inputs)
    if interruption.noted:
        interruption.leave(f"go on with: {arguments.command_line}")
    if is_written:
        print(f"wrote {arguments.output}: config.json, tokenizer, model.safetensors")
    print_next(export_command(arguments.output))


def make_parser() -> CommandParser:
    parser = command_parser("train.lm", f"Train a speech language model. Stopped, {GOES_ON}.")
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="YAML file of the run"
    )
    add_output(parser, "checkpoint directory to write")
    add_resume(parser)
    add_max_minutes(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
