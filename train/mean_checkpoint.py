"""The mean of checkpoints: `python -m train.mean_checkpoint FIRST SECOND … --output DIR`.

In: checkpoints of one architecture and tokenizer, all trained further from the same checkpoint; the
mean of unrelated models does not work. Out: a checkpoint with the mean of their weights. It often
keeps abilities that the longer trained model has lost (arXiv 2109.01903).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.next_step import export_command, print_next
from commands.options import add_output
from commands.run import run_command
from formats.files.folders import check_own_folder

DTYPES = ("float32", "float16", "bfloat16")


def write_mean(folders: Sequence[Path], output: Path, dtype: str) -> None:
    """Write the mean to `output`, with the tokenizer and configuration of the first checkpoint.

    Raises:
        UserError: fewer than two folders, models that differ in more than their weights, or an
            output that is one of them or no checkpoint.
    """
    import torch

    from train.language_model.checkpoint import load_checkpoint, save_checkpoint

    if len(folders) < 2:
        raise UserError("the mean needs two checkpoints or more")
    if output.resolve() in [folder.resolve() for folder in folders]:
        raise UserError(f"{output}: the mean would replace one of its checkpoints; name another")
    check_own_folder(output, "checkpoint", "config.json")
    first = load_checkpoint(folders[0])
    weights = dict(first.model.named_parameters())
    for count, folder in enumerate(folders[1:], 2):
        other = load_checkpoint(folder)
        if other.config != first.config or other.tokenizer.to_str() != first.tokenizer.to_str():
            raise UserError(f"{folder}: not the configuration and tokenizer of {folders[0]}")
        with torch.no_grad():
            for name, weight in other.model.named_parameters():
                weights[name].lerp_(weight, 1 / count)
    save_checkpoint(first.model, first.tokenizer, output, dtype)


def run(arguments: argparse.Namespace) -> None:
    """Write the mean and say what comes next. Raises `UserError`."""
    write_mean(arguments.checkpoints, arguments.output, arguments.dtype)
    print(f"wrote {arguments.output}: the mean of {len(arguments.checkpoints)} checkpoints")
    print_next(export_command(arguments.output))


def make_parser() -> CommandParser:
    parser = command_parser(
        "train.mean_checkpoint",
        "Write the mean of checkpoints that were trained further from the same checkpoint.",
    )
    add = parser.add_argument
    add("checkpoints", type=Path, nargs="+", metavar="DIR", help="two checkpoints or more")
    add_output(parser, "folder to write")
    add("--dtype", choices=DTYPES, default="float32", help="of the weights (default: float32)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
