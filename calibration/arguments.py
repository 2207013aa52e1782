"""Options that both commands of calibration have: data, and how scales are found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from calibration.methods.choices import ACTIVATION_METHODS, WEIGHT_SCALE_METHODS
from commands.errors import UserError
from commands.options import Options, add_count, add_output
from export.arguments import read_source

if TYPE_CHECKING:
    from calibration.pipeline import Data
    from export.sources import Sources


def add_data(options: Options) -> None:
    add = options.add_argument
    add("--texts", type=Path, nargs="+", metavar="FILE", help="sentences, one a line")
    add("--tokens", type=Path, metavar="FILE", help="recorded frames to follow instead (.jsonl)")
    add_output(options, "calibration to write or replace")
    add_count(options, "--threads", "CPU threads of each operator", default=1)


def check_data(arguments: argparse.Namespace) -> None:
    """Raise `UserError` unless there are either texts or tokens."""
    if bool(arguments.texts) == (arguments.tokens is not None):
        raise UserError("give --texts FILE … to be spoken, or --tokens FILE to be followed")


def open_data(arguments: argparse.Namespace) -> tuple[Sources, Data]:
    """The model with its codec and voices, and the texts or tokens. Raises `UserError`."""
    from calibration.measurement.utterances import check_count, read_texts
    from calibration.pipeline import Data
    from export.sources import find_sources, open_sources

    texts = read_texts(arguments.texts) if arguments.texts else ()
    if texts:
        check_count(len(texts))
    source = read_source(arguments)
    return open_sources(find_sources(source), source.heads), Data(texts, arguments.tokens)


def add_scales(options: Options) -> None:
    add = options.add_argument
    add("--activations", choices=ACTIVATION_METHODS, default="mse", help=_ACTIVATIONS_HELP)
    add("--weights", choices=WEIGHT_SCALE_METHODS, default="mse", help=_WEIGHTS_HELP)


_ACTIVATIONS_HELP = "how the scale of a layer's inputs is found, int8 and fp8 (default: mse)"
_WEIGHTS_HELP = """how the scales of weights are found (default: mse); signed: mse with negative
scales as well, for int4 in ONNX Runtime and in the native engine"""
