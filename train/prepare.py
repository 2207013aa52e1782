"""Recordings to speech tokens: `python -m train.prepare AUDIO --codec DIR --heads 3 --output DIR`.

In: folders of recordings (train/data/recordings.py has their forms) and a codec. Out, in the
output folder: `ntp.jsonl` for `--heads 1` and `hN.jsonl` for N heads (formats/tokens.py), in the
order of the recordings, `speakers/` with the speaker embeddings that the lines name, relative to
the output folder, and `voices/` with the mean embedding of each known speaker: voices for the
runtime. Recordings that cannot be used are left out and listed at the end; with `--strict`, no
tokens are written in that case.

Work is saved in parts, so the same command continues an interrupted run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser
from commands.interruption import format_command
from commands.run import run_cli
from train.data.recording_folders import ARGUMENT_HELP, parse_folder

EMBEDDING_SCOPES = ("utterance", "speaker", "none")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m train.prepare", description=(__doc__ or "").splitlines()[0].split(":")[0]
    )
    parser.add_argument("audio", type=parse_folder, nargs="+", help=ARGUMENT_HELP)
    parser.add_argument("--codec", type=Path, required=True, help="folder of the codec")
    heads_help = "1 (next-token) or multiples of the codec's streams (FACodec has 3)"
    parser.add_argument("--heads", type=int, nargs="+", required=True, help=heads_help)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--frontend", choices=("none", "hibari"), default="none", help="write text as phonemes"
    )
    parser.add_argument("--language", default="en-us", help="of the frontend (default en-us)")
    parser.add_argument(
        "--embeddings",
        choices=EMBEDDING_SCOPES,
        default="utterance",
        help="a speaker embedding per utterance (default), their mean per speaker, or none",
    )
    parser.add_argument("--min-dnsmos", type=float, help="leave out worse recordings (3.5)")
    parser.add_argument("--min-seconds", type=float, default=0.3)
    parser.add_argument("--max-seconds", type=float, default=30.0)
    parser.add_argument(
        "--no-trim", dest="trim", action="store_false", help="keep silence at both ends"
    )
    parser.add_argument("--limit", type=int, help="use only the first LIMIT recordings")
    parser.add_argument(
        "--strict", action="store_true", help="write no tokens if a recording cannot be used"
    )
    parser.add_argument("--device", default="cpu", help="torch device for the codec")
    parsed = parser.parse_args(argv)
    parsed.command = format_command("train.prepare", argv)
    return parsed


def prepare_from_arguments(argv: Sequence[str] | None) -> None:
    arguments = parse_arguments(argv)
    from train.data.token_preparation import prepare

    prepare(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(prepare_from_arguments, argv)


if __name__ == "__main__":
    sys.exit(main())
