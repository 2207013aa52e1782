"""What the commands that calibrate take alike: data, a model, and how scales are found."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.errors import UserError
from export.options import DEMO_HEADS

if TYPE_CHECKING:
    from export.sources import Sources


def add_data(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--texts", type=Path, nargs="+", metavar="FILE", help="sentences, one a line")
    add("--tokens", type=Path, metavar="FILE", help="recorded frames to follow instead (.jsonl)")
    add("--output", type=Path, required=True, metavar="DIR", help="directory to write or replace")
    add("--threads", type=int, default=1, metavar="N", help="for each operator (default: 1)")


def check_data(arguments: argparse.Namespace) -> None:
    """Raise `UserError` unless there are either texts or tokens."""
    if bool(arguments.texts) == (arguments.tokens is not None):
        raise UserError("give --texts FILE … to be spoken, or --tokens FILE to be followed")


def open_data(arguments: argparse.Namespace) -> tuple[Sources, Sequence[str]]:
    """The model with its codec and voices, and the texts: none where tokens are followed."""
    from calibration.measurement.utterances import read_texts
    from export.sources import find_sources, open_sources

    texts = read_texts(arguments.texts) if arguments.texts else ()
    demo_heads = DEMO_HEADS if arguments.heads is None else arguments.heads
    folders = find_sources(arguments.model, arguments.codec, arguments.voice, demo_heads)
    return open_sources(folders, arguments.heads), texts


def add_sources(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", type=Path, metavar="DIR", help="checkpoint")
    add("--codec", type=Path, metavar="DIR", help="codec of its tokens")
    add("--voice", action="extend", nargs="+", default=[], metavar="NAME=FILE", help=_VOICE_HELP)
    add("--heads", type=int, metavar="N", help=_HEADS_HELP)


def add_scales(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--activations",
        choices=("max", "percentile", "entropy", "mse"),
        default="mse",
        help="how the scale of a layer's inputs is found, int8 and fp8 (default: mse)",
    )
    add("--weights", choices=("max", "mse"), default="mse", help="the same for weights")


_HEADS_HELP = f"""which demo voice (default: {DEMO_HEADS}); with --model, what it must have"""
_VOICE_HELP = "voices to speak with, for a speaker-aware model"
