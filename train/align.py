"""Durations of symbols for recordings without them: `python -m train.align AUDIO --output DIR`.

In: folders of recordings (train/data/recordings.py has their forms) and their texts. Out: a folder
of recordings that every other command reads, with `symbol_frames` in frames of the codec
(train/alignment/aligned_folder.py). Known durations are kept. Recordings that cannot be aligned
are listed and counted, and stay in the folder without durations. Durations are kept beside the
output until all are found, so the same command continues an interrupted run.

With `--compare` nothing is written: durations are found for the recordings whose durations are
known, without using these, and a table shows how far off they are.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.interruption import format_command
from commands.next_step import print_next, quote
from commands.run import run_cli
from formats.checkpoint.codec_config import CodecConfig, find_codec_config
from train.data.recording_folders import ARGUMENT_HELP, parse_folder

if TYPE_CHECKING:
    from train.alignment.duration_search import Script, ScriptReader, SearchOptions

METHODS = ("learned", "diagonal")


def align(arguments: argparse.Namespace) -> None:
    """Find the durations and write the folder or print the comparison. Raises `UserError`."""
    from train.alignment.aligned_folder import AlignedRecording, check_output, write_aligned_folder
    from train.alignment.duration_search import DurationSearch, ScriptReader
    from train.alignment.progress import AlignProgress

    if not arguments.compare:
        check_output(arguments.output, arguments.audio)
    found = {folder: folder.find() for folder in arguments.audio}
    recordings = [recording for group in found.values() for recording in group]
    if len({recording.path for recording in recordings}) < len(recordings):
        raise UserError("a recording is described twice; keep one line of metadata for each file")
    reader = ScriptReader(arguments.frontend, arguments.language)
    scripts = reader.read(recordings)
    if arguments.compare:
        print_comparison(scripts, reader, arguments)
        return
    unknown = [script for script in scripts if arguments.replace or script.known_frames is None]
    progress = AlignProgress(arguments.output, describe_plan(unknown, arguments))
    search = DurationSearch(reader, search_options(arguments), progress, arguments.command)
    durations = {s.recording.path: s.known_frames for s in scripts}
    durations |= search.find(unknown, arguments.method)
    characters = {s.recording.path: s.characters for s in scripts}
    write_aligned_folder(
        arguments.output,
        {
            folder: [
                AlignedRecording(r, characters.get(r.path), durations.get(r.path)) for r in group
            ]
            for folder, group in found.items()
        },
        phonemes=arguments.frontend != "none",
    )
    progress.remove()
    count = sum(counts is not None for counts in durations.values())
    print(f"{count} of {len(recordings)} recordings with durations in {arguments.output}")
    print_next(f"python -m train.prepare {prepare_options(arguments)} --output tokens")


def prepare_options(arguments: argparse.Namespace) -> str:
    """What train.prepare needs to know of the recordings."""
    groups = " ".join(quote(arguments.output / folder.group) for folder in arguments.audio)
    codec = "CODEC" if arguments.codec is None else quote(arguments.codec)
    heads = 2 * arguments.frames.streams.count
    frontend = "" if arguments.frontend == "none" else f" --frontend {arguments.frontend}"
    return f"{groups} --codec {codec} --heads {heads}{frontend}"


def describe_plan(scripts: Sequence[Script], arguments: argparse.Namespace) -> dict[str, object]:
    """What a run must have in common with the one that it continues."""
    texts = "\n".join(f"{script.recording.path}\t{script.characters}" for script in scripts)
    return {
        "scripts": hashlib.sha256(texts.encode(errors="surrogateescape")).hexdigest(),
        "method": arguments.method,
        "learning": [arguments.steps, arguments.learn_from, arguments.seed],
        "frames": [arguments.frames.sample_rate_hz, arguments.frames.hop_samples],
    }


def search_options(arguments: argparse.Namespace) -> SearchOptions:
    from train.alignment.duration_search import SearchOptions

    names = ("steps", "learn_from", "seed", "threads")
    chosen = {name: getattr(arguments, name) for name in names}
    return SearchOptions(**chosen, codec=arguments.frames)


def print_comparison(
    scripts: Sequence[Script], reader: ScriptReader, arguments: argparse.Namespace
) -> None:
    """A table of how far off the methods are, where durations are known."""
    import numpy as np

    from train.alignment.duration_search import DurationSearch
    from train.alignment.paths import compare_durations, format_errors

    known = {s.recording.path: s.known_frames for s in scripts if s.known_frames is not None}
    if not known:
        raise UserError("no recording has durations of these symbols to compare with")
    chosen = [script for script in scripts if script.recording.path in known]
    found = {}
    for method in METHODS:
        durations = DurationSearch(reader, search_options(arguments)).find(chosen, method)
        counts = [np.array(counts) for counts in durations.values()]
        frame_ms = 1000 / arguments.frames.frames_per_second
        found[method] = compare_durations(counts, [known[path] for path in durations], frame_ms)
    print(format_errors(found))


def positive(number: str) -> int:
    """An argument's type: a whole number from 1."""
    if not number.isascii() or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {number!r}")
    return int(number)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m train.align", description=(__doc__ or "").splitlines()[0].split(":")[0]
    )
    parser.add_argument("audio", type=parse_folder, nargs="+", help=ARGUMENT_HELP)
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--output", type=Path, help="folder to write; it must not exist")
    goal.add_argument(
        "--compare", action="store_true", help="print how far off known durations the methods are"
    )
    parser.add_argument(
        "--frontend", choices=("none", "hibari"), default="none", help="write text as phonemes"
    )
    parser.add_argument("--language", default="en-us", help="of the frontend (default en-us)")
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="learned",
        help="learned (default), or diagonal: evenly through the speech, in seconds",
    )
    parser.add_argument(
        "--codec", type=Path, help="folder of the codec whose frames are counted (default: FACodec)"
    )
    parser.add_argument("--replace", action="store_true", help="also replace known durations")
    parser.add_argument("--steps", type=positive, default=1000, help="of learning (default 1000)")
    parser.add_argument(
        "--learn-from", type=positive, default=3000, help="recordings at most (default 3000)"
    )
    parser.add_argument("--threads", type=positive, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args(argv)
    parsed.command = format_command("train.align", argv)
    parsed.frames = CodecConfig() if parsed.codec is None else find_codec_config(parsed.codec)
    return parsed


def align_from_arguments(argv: Sequence[str] | None) -> None:
    align(parse_arguments(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(align_from_arguments, argv)


if __name__ == "__main__":
    sys.exit(main())
