"""Options that name a model with its codec and its voices: those of exports and calibrations.

In: a parser or a group of one, or what it parsed. Out: the same with more options, or a `Source`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from commands.options import Options, add_count
from export.options import DEMO_HEADS, Source


def add_source(options: Options) -> None:
    """`--heads`, `--model`, `--codec` and `--voice`."""
    add_count(options, "--heads", _HEADS_HELP)
    add = options.add_argument
    add("--model", type=Path, metavar="DIR", help="checkpoint (default: the demo voice)")
    add("--codec", type=Path, metavar="DIR", help=_CODEC_HELP)
    add("--voice", action="extend", nargs="+", default=[], metavar="NAME=FILE", help=_VOICE_HELP)


def read_source(arguments: argparse.Namespace) -> Source:
    """What the options of `add_source` name."""
    voices = tuple(arguments.voice)
    return Source(arguments.model, arguments.codec, voices, arguments.heads)


_HEADS_HELP = f"""codes a step: 3, 6, 12 ..., or 1 for a next-token model. With --model, what the
checkpoint must have; without it, which demo voice to take (default: {DEMO_HEADS})"""
_CODEC_HELP = """codec: codec.json with codec.safetensors, or the published
ns3_facodec_encoder_v2.bin and ns3_facodec_decoder_v2.bin"""
_VOICE_HELP = """a voice: a recording (at any sample rate, 30 s at most) or a .safetensors file.
There can be several. The first is the default of a bundle"""
