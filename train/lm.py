"""Train a speech language model: `python -m train.lm --config FILE --output DIR`.

In: a YAML file (train/language_model_training/settings.py), tokens JSONL, optionally a base model
and a codec. Out: a checkpoint directory (train/language_model_training/run.py). On several
processes: `torchrun --nproc-per-node N -m train.lm --config FILE --output DIR`. On a CPU with
glibc, `MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000` in the environment saves the time
that giving freed memory back and asking for it again takes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser
from commands.interruption import Interruption, format_command
from commands.next_step import export_command, print_next
from commands.run import run_cli


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_cli(_command, argv)


def _command(argv: Sequence[str] | None) -> None:
    parser = CommandParser(prog="python -m train.lm", description="Train a speech language model.")
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the run")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint directory to write")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    parser.add_argument("--max-minutes", type=float, help="end the run, schedule included, by then")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    from train.language_model_training.settings import read_located_settings

    settings = read_located_settings(args.config)

    from train.language_model_training.run import train

    interruption = Interruption()
    train(settings, args.output, args.resume, args.max_minutes, interruption)
    if interruption.requested:
        again = argv if args.resume else [*(sys.argv[1:] if argv is None else argv), "--resume"]
        interruption.leave(f"go on with: {format_command('train.lm', again)}")
    print(f"wrote {args.output}: config.json, tokenizer, model.safetensors")
    print_next(export_command(args.output))


if __name__ == "__main__":
    raise SystemExit(main())
