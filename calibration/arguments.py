"""Options that both commands of calibration have: data, a model, and how scales are found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from calibration.methods.choices import ACTIVATION_METHODS, WEIGHT_SCALE_METHODS
from commands.errors import UserError
from export.options import DEMO_HEADS, Source

if TYPE_CHECKING:
    from calibration.pipeline import Data
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


def open_data(arguments: argparse.Namespace) -> tuple[Sources, Data]:
    """The model with its codec and voices, and what is to be said."""
    from calibration.measurement.utterances import read_texts
    from calibration.pipeline import Data
    from export.sources import find_sources, open_sources

    texts = read_texts(arguments.texts) if arguments.texts else ()
    voices = tuple(arguments.voice)
    source = Source(arguments.model, arguments.codec, voices, arguments.heads)
    return open_sources(find_sources(source), source.heads), Data(texts, arguments.tokens)


def add_sources(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", type=Path, metavar="DIR", help="checkpoint")
    add("--codec", type=Path, metavar="DIR", help="codec of its tokens")
    add("--voice", action="extend", nargs="+", default=[], metavar="NAME=FILE", help=_VOICE_HELP)
    add("--heads", type=int, metavar="N", help=_HEADS_HELP)


def add_scales(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--activations", choices=ACTIVATION_METHODS, default="mse", help=_ACTIVATIONS_HELP)
    add("--weights", choices=WEIGHT_SCALE_METHODS, default="mse", help=_WEIGHTS_HELP)


_ACTIVATIONS_HELP = "how the scale of a layer's inputs is found, int8 and fp8 (default: mse)"
_WEIGHTS_HELP = "how the scales of weights are found (default: mse)"
_HEADS_HELP = f"""which demo voice (default: {DEMO_HEADS}); with --model, what the checkpoint must
have"""
_VOICE_HELP = "voices to speak with, for a speaker-aware model"
