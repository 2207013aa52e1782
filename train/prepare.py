"""Recordings to speech tokens: `python -m train.prepare AUDIO --codec DIR --heads 3 --output DIR`.

In: folders of recordings (train/data/recordings.py describes their forms) and a codec. Out, in the
output folder: `ntp.jsonl` for `--heads 1` and `hN.jsonl` for N heads (formats/tokens.py), in the
order of the recordings; `speakers/` with the speaker embeddings that the lines name, relative to
the output folder; and `voices/` with the mean embedding of each named speaker, as voices for the
runtime. Unusable recordings are left out and listed at the end; with `--strict` no tokens are
written if there are any.

train/data/token_preparation.py does the work. It is saved in parts, so the same command goes on
where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.options import (
    GOES_ON,
    add_choice,
    add_device,
    add_frontend,
    add_limit,
    add_max_minutes,
    add_output,
    number_above,
)
from commands.run import run_command
from train.data.recording_folders import ARGUMENT_HELP, parse_folder

EMBEDDING_SCOPES = {
    "utterance": "one for each recording",
    "speaker": "the mean of each speaker's recordings",
    "none": "none at all",
}


def run(arguments: argparse.Namespace) -> None:
    """Tokenize the recordings. Raises `UserError`."""
    from train.data.token_preparation import prepare

    prepare(arguments)


def make_parser() -> CommandParser:
    parser = command_parser(
        "train.prepare", f"Turn recordings into speech tokens. Stopped, {GOES_ON}."
    )
    add = parser.add_argument
    add("audio", type=parse_folder, nargs="+", help=ARGUMENT_HELP)
    add("--codec", type=Path, required=True, metavar="DIR", help="folder of the codec")
    add(
        "--heads",
        type=int,
        nargs="+",
        required=True,
        metavar="N",
        help="1 (next-token) or multiples of the codec's streams (FACodec has 3); a file for each",
    )
    add_output(parser, "folder to write")
    add_frontend(parser)
    add_choice(
        parser, "--embeddings", EMBEDDING_SCOPES, "utterance", "speaker embeddings in the tokens"
    )
    _add_selection(parser.add_argument_group("which recordings are used"))
    add_device(parser)
    add_max_minutes(parser)
    return parser


def _add_selection(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add_limit(group, "recordings")
    add("--min-dnsmos", type=float, metavar="SCORE", help="leave out recordings that sound worse")
    seconds = number_above(0)
    add("--min-seconds", type=seconds, default=0.3, metavar="SECONDS", help="(default: 0.3)")
    add("--max-seconds", type=seconds, default=30.0, metavar="SECONDS", help="(default: 30)")
    add("--no-trim", dest="trim", action="store_false", help="keep silence at both ends")
    add("--strict", action="store_true", help="write no tokens if a recording is unusable")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
