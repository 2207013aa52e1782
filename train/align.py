"""Durations of symbols, for recordings that have none: `python -m train.align AUDIO --output DIR`.

In: folders of recordings (train/data/recordings.py describes their forms) and their texts. Out: a
folder of recordings with `symbol_frames` in frames of the codec, which every other command reads
(train/alignment/aligned_folder.py). Known durations are kept. Recordings that cannot be aligned are
reported and counted, and stay in the folder without durations. Results are kept beside the output
until all are there, so the same command goes on where it stopped. The search is in
train/alignment/duration_search.py.

With `--compare` nothing is written. The command finds durations for the recordings whose durations
are known, without looking at these, and prints a table of the differences.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.interruption import Interruption
from commands.next_step import print_next, quote
from commands.options import (
    GOES_ON,
    add_choice,
    add_count,
    add_frontend,
    add_max_minutes,
    add_seed,
    add_threads,
)
from commands.run import run_command
from formats.checkpoint.codec_config import CodecConfig, find_codec_config
from train.data.recording_folders import ARGUMENT_HELP, parse_folder

if TYPE_CHECKING:
    from train.alignment.duration_search import DurationSearch, Script, ScriptReader
    from train.alignment.progress import AlignProgress
    from train.data.recording_folders import RecordingFolder
    from train.data.recordings import Recording

METHODS = {
    "learned": "by a small model, trained on these recordings",
    "diagonal": "evenly through the speech, in seconds",
}


def run(arguments: argparse.Namespace) -> None:
    """Find the durations, then write the folder or print the comparison. Raises `UserError`."""
    from train.alignment.aligned_folder import check_output
    from train.alignment.duration_search import ScriptReader

    codec = arguments.codec
    arguments.frames = CodecConfig() if codec is None else find_codec_config(codec)
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
    else:
        align(found, scripts, reader, arguments)


def align(
    found: dict[RecordingFolder, list[Recording]],
    scripts: Sequence[Script],
    reader: ScriptReader,
    arguments: argparse.Namespace,
) -> None:
    """Find the durations that are unknown and write the folder."""
    from train.alignment.aligned_folder import AlignedRecording, write_aligned_folder
    from train.alignment.progress import AlignProgress

    unknown = [script for script in scripts if arguments.replace or script.known_frames is None]
    progress = AlignProgress(arguments.output, describe_inputs(unknown, arguments))
    durations = {s.recording.path: s.known_frames for s in scripts}
    durations |= make_search(reader, arguments, progress).find(unknown, arguments.method)
    characters = {s.recording.path: s.characters for s in scripts}
    aligned = {
        folder: [AlignedRecording(r, characters.get(r.path), durations.get(r.path)) for r in group]
        for folder, group in found.items()
    }
    write_aligned_folder(arguments.output, aligned, phonemes=arguments.frontend != "none")
    progress.remove()
    count = sum(counts is not None for counts in durations.values())
    total = sum(map(len, found.values()))
    print(f"{count} of {total} recordings with durations in {arguments.output}")
    print_next(f"python -m train.prepare {prepare_options(arguments)} --output tokens")


def prepare_options(arguments: argparse.Namespace) -> str:
    """The options of train.prepare for these recordings."""
    groups = " ".join(quote(arguments.output / folder.group) for folder in arguments.audio)
    codec = "CODEC" if arguments.codec is None else quote(arguments.codec)
    heads = arguments.frames.streams.count
    frontend = "" if arguments.frontend == "none" else f" --frontend {arguments.frontend}"
    return f"{groups} --codec {codec} --heads {heads}{frontend}"


def describe_inputs(scripts: Sequence[Script], arguments: argparse.Namespace) -> dict[str, object]:
    """What a run must have in common with the one that it continues."""
    texts = "\n".join(f"{script.recording.path}\t{script.characters}" for script in scripts)
    return {
        "texts": hashlib.sha256(texts.encode(errors="surrogateescape")).hexdigest(),
        "method": arguments.method,
        "learning": [arguments.steps, arguments.learn_from, arguments.seed],
        "frames": [arguments.frames.sample_rate_hz, arguments.frames.hop_samples],
    }


def make_search(
    reader: ScriptReader, arguments: argparse.Namespace, progress: AlignProgress | None = None
) -> DurationSearch:
    """The search that the arguments ask for."""
    from train.alignment.duration_search import DurationSearch, SearchOptions

    names = ("steps", "learn_from", "seed", "threads")
    chosen = {name: getattr(arguments, name) for name in names}
    options = SearchOptions(**chosen, codec=arguments.frames)
    interruption = Interruption(arguments.max_minutes)
    return DurationSearch(reader, options, interruption, progress, arguments.command_line)


def print_comparison(
    scripts: Sequence[Script], reader: ScriptReader, arguments: argparse.Namespace
) -> None:
    """Print how far each method is off where durations are known."""
    import numpy as np

    from train.alignment.paths import compare_durations, format_errors

    known = {s.recording.path: s.known_frames for s in scripts if s.known_frames is not None}
    if not known:
        raise UserError("no recording has durations of these symbols to compare with")
    chosen = [script for script in scripts if script.recording.path in known]
    found = {}
    for method in METHODS:
        durations = make_search(reader, arguments).find(chosen, method)
        counts = [np.array(counts) for counts in durations.values()]
        frame_ms = 1000 / arguments.frames.frames_per_second
        found[method] = compare_durations(counts, [known[path] for path in durations], frame_ms)
    print(format_errors(found), end="")


def make_parser() -> CommandParser:
    parser = command_parser(
        "train.align", f"Find the durations of symbols in recordings. Stopped, {GOES_ON}."
    )
    add = parser.add_argument
    add("audio", type=parse_folder, nargs="+", help=ARGUMENT_HELP)
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--output", type=Path, help="folder to write; it must not exist")
    goal.add_argument(
        "--compare", action="store_true", help="print how far the methods are off known durations"
    )
    add_frontend(parser)
    add_choice(parser, "--method", METHODS, "learned", "how durations are found")
    add(
        "--codec",
        type=Path,
        metavar="DIR",
        help="folder of the codec whose frames are counted (default: FACodec)",
    )
    add("--replace", action="store_true", help="also find the durations that are known already")
    learning = parser.add_argument_group("learning")
    add_count(learning, "--steps", "training steps", default=1000)
    add_count(learning, "--learn-from", "at most so many recordings", default=3000)
    add_threads(learning, "PyTorch (default: its own choice)")
    add_seed(learning)
    add_max_minutes(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
