"""Half a codec's size: `python -m train.halve_codec IN OUT`.

In: a codec folder in either layout. Out: a codec folder in this project's layout whose weights
are float16; quantizers, mel analysis and filters stay float32. Prints how much the decoded audio of
random frames changes, and refuses to write a codec that changes by more than `--limit`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import number_above
from commands.run import run_command
from formats.files.folders import check_own_folder

if TYPE_CHECKING:
    from train.codec_model.facodec import FACodec

_COMPARED_SECONDS = 5


def halve_codec(source: Path, output: Path, limit: float) -> float:
    """Write the smaller codec; returns the audio's largest change relative to its peak.

    Raises:
        UserError: the change is above `limit`, or `output` is `source` or no codec's folder.
    """
    import torch

    from train.codec_model.checkpoint import is_kept_exact, load_codec, save_codec

    if output.resolve() == source.resolve():
        raise UserError(f"{output}: the smaller codec would replace its source; name another OUT")
    check_own_folder(output, "codec", "codec.json")
    codec, rounded = load_codec(source), load_codec(source)
    for name, weight in rounded.named_parameters():
        if not is_kept_exact(name):
            weight.data = weight.data.half().float()
    change = compare_audio(codec, rounded)
    if not change <= limit:
        raise UserError(
            f"{source}: audio would change by {change:.1e} of its peak; the --limit is {limit}"
        )
    save_codec(codec, output, torch.float16)
    return change


def compare_audio(codec: FACodec, other: FACodec) -> float:
    """Largest difference of decoded random frames, relative to the peak."""
    import torch

    generator = torch.Generator().manual_seed(0)
    streams = codec.config.streams
    shape = (1, round(_COMPARED_SECONDS * streams.frames_per_second))
    columns = [torch.randint(0, size, shape, generator=generator) for size in streams.sizes]
    frames = torch.stack(columns, dim=-1)
    speaker = torch.randn(1, codec.config.speaker_channels, generator=generator)
    with torch.no_grad():
        audio = codec.decode(frames, speaker)
        moved = other.decode(frames, speaker)
    return float((moved - audio).abs().max() / audio.abs().max())


def run(arguments: argparse.Namespace) -> None:
    """Write the codec and print how much it changed. Raises `UserError`."""
    change = halve_codec(arguments.source, arguments.output, arguments.limit)
    print(f"wrote {arguments.output}: audio of random frames changes by {change:.1e} of its peak")


def make_parser() -> CommandParser:
    parser = command_parser("train.halve_codec", "Write a codec with float16 weights.")
    add = parser.add_argument
    add("source", type=Path, metavar="IN", help="codec folder")
    add("output", type=Path, metavar="OUT", help="folder to write")
    add(
        "--limit",
        type=number_above(0),
        default=2e-2,
        metavar="SHARE",
        help="largest change of the audio, as a share of its peak (default: 0.02)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
