"""The mean of checkpoints: `python -m train.mean_checkpoint FIRST SECOND … --output DIR`.

In: checkpoints of one architecture and tokenizer, each trained on from the same beginning: models
that were not have no mean that works. Out: a checkpoint whose weights are the mean of theirs. It
often keeps what the longer trained one forgot (arXiv 2109.01903).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.next_step import export_command, print_next
from commands.run import run_cli


def write_mean(folders: Sequence[Path], output: Path, dtype: str) -> None:
    """Write the mean to `output`; tokenizer and configuration are the first one's.

    Raises:
        UserError: fewer than two folders, or models that differ in more than their weights.
    """
    import torch

    from train.language_model.checkpoint import load_checkpoint, save_checkpoint

    if len(folders) < 2:
        raise UserError("the mean needs two checkpoints or more")
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


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m train.mean_checkpoint",
        description="Write the mean of checkpoints that were trained on from the same beginning.",
    )
    parser.add_argument("checkpoints", type=Path, nargs="+", help="folders, two or more")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="of weights"
    )
    return parser.parse_args(argv)


def mean_from_arguments(argv: Sequence[str] | None) -> None:
    arguments = parse_arguments(argv)
    write_mean(arguments.checkpoints, arguments.output, arguments.dtype)
    print(f"wrote {arguments.output}: the mean of {len(arguments.checkpoints)} checkpoints")
    print_next(export_command(arguments.output))


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(mean_from_arguments, argv)


if __name__ == "__main__":
    sys.exit(main())
