"""How many listeners a server keeps up with: first audio, gaps and throughput, load by load.

In: the address of a server with OpenAI's speech API, or a bundle, which the scheduler then speaks
in this process. Out: a table with a line for each load, and, if asked for, the same as JSON and as
a plot. Listeners arrive at random, however long the others take: an overloaded server gets no rest.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, number_above, whole_from
from commands.progress import tell
from commands.run import run_command

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.serving.figures import Level
    from benchmarks.serving.targets import Target

STREAMS = (1, 2, 4, 8, 16, 32, 64)
WARM_UPS = 8  # texts that are asked for one after another first


def measure_level(
    target: Target, random: np.random.Generator, streams: float, options: argparse.Namespace
) -> Level:
    """Offer `streams` listeners at a time, by the mean length of what they hear."""
    from benchmarks.serving.asking import arrivals, mixed_asks
    from benchmarks.serving.figures import summarise
    from benchmarks.serving.hearing import hear_all

    rate = streams / options.mean_seconds
    moments = arrivals(random, rate, options.seconds) or [0.0]
    asks = mixed_asks(random, len(moments), target.voices, tuple(options.words))
    start, work = time.perf_counter(), time.process_time()
    heard = hear_all(target, asks, moments)
    seconds = time.perf_counter() - start
    own = (time.process_time() - work) / seconds
    return summarise(streams, heard, max(options.seconds, seconds), own)


def warm_up(target: Target, random: np.random.Generator, words: Sequence[int]) -> float:
    """Mean seconds of audio of a text: of a word, as a few texts have it, times the mean number of
    words. A few texts' own mean would be far off.

    Raises:
        UserError: the target does not speak.
    """
    from benchmarks.serving.asking import mean_words, mixed_asks
    from benchmarks.serving.hearing import Outcome, hear

    lengths = (words[0], words[1])
    asks = mixed_asks(random, WARM_UPS, target.voices, lengths)
    heard = [hear(target, ask) for ask in asks]
    for each in heard:
        if each.outcome is not Outcome.DONE:
            raise UserError(f"{target.name}: {each.outcome}: {each.reason}")
    said = sum(len(ask.text.split()) for ask in asks)
    return mean_words(lengths) * sum(each.audio_seconds for each in heard) / said


@contextmanager
def open_target(arguments: argparse.Namespace) -> Iterator[Target]:
    """A server, or the scheduler of this process.

    Raises:
        UserError: neither of the two was named, or both.
    """
    if (arguments.url is None) == (arguments.engine is None):
        raise UserError("give either the address of a server or --engine DIR")
    voices = tuple(arguments.voices or ())
    if arguments.url is not None:
        from benchmarks.serving.over_http import OverHttp

        key = os.environ.get("OPENAI_API_KEY", "none")
        voices = voices or ("alloy",)
        settings = (arguments.fields, key, arguments.sample_rate, arguments.api)
        yield OverHttp(arguments.url, voices, *settings)
        return
    from benchmarks.serving.in_process import InProcess
    from runtime.scheduling.capacity import measure_capacity
    from runtime.scheduling.scheduler import Scheduler
    from runtime.speech.synthesis import TTS

    tts = TTS.load(arguments.engine, threads=arguments.threads)
    capacity = measure_capacity(tts)
    tell(capacity.describe())
    with Scheduler(tts, capacity.limits(arguments.rows)) as scheduler:
        target = InProcess(scheduler)
        target.voices = voices or target.voices
        yield target


def run(arguments: argparse.Namespace) -> None:
    """Offer each load and print the table."""
    import numpy as np

    from benchmarks.serving.figures import format_levels
    from benchmarks.serving.plot import draw_levels
    from formats.files.atomic import write_text

    random = np.random.default_rng(arguments.seed)
    levels: list[Level] = []
    with open_target(arguments) as target:
        tell(target.name)
        arguments.mean_seconds = warm_up(target, random, arguments.words)
        tell(f"a text lasts {arguments.mean_seconds:.1f} s in the mean")
        for streams in arguments.streams:
            levels.append(measure_level(target, random, streams, arguments))
            tell(
                f"{streams:g} streams: {levels[-1].throughput:.1f} seconds of audio a second; this "
                f"process used {levels[-1].own_processor:.0%} of a processor"
            )
    for level in levels:
        for reason in level.reasons:
            tell(f"{level.streams:g} streams, broken: {reason}")
    print(format_levels(levels), end="")
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        report = {
            "target": target.name,
            "mean_seconds": arguments.mean_seconds,
            "seconds": arguments.seconds,
            "levels": [asdict(level) for level in levels],
        }
        write_text(arguments.output / "load.json", json.dumps(report, indent=1) + "\n")
        write_text(arguments.output / "load.svg", draw_levels(target.name, levels))


def add_target(parser: CommandParser) -> None:
    """Options that `open_target` reads."""
    parser.add_argument("url", nargs="?", metavar="URL", help="of a server, as http://HOST:PORT")
    parser.add_argument(
        "--engine", type=Path, metavar="DIR", help="a bundle, for the scheduler in this process"
    )
    add_count(parser, "--rows", "of the scheduler (default: as many as stay in real time)")
    add_count(parser, "--threads", "of the engine (default: the physical cores)")
    parser.add_argument(
        "--api",
        choices=("openai", "piper", "pocket-tts"),
        default="openai",
        help="of a server (default: openai)",
    )
    add_count(parser, "--sample-rate", "of a server's pcm, in Hz", default=24_000)
    parser.add_argument("--voices", nargs="+", metavar="NAME", help="(default: the bundle's own)")
    parser.add_argument(
        "--fields",
        type=_json_object,
        default={},
        metavar="JSON",
        help='more fields of each request to a server, such as {"model": "kokoro"}',
    )
    parser.add_argument("--seed", type=whole_from(0), default=1, metavar="N", help="(default: 1)")


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object, not {text!r}")
    return value


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.serving.load", "Offer a server of speech more and more listeners."
    )
    add_target(parser)
    parser.add_argument(
        "--streams",
        type=number_above(0),
        nargs="+",
        default=STREAMS,
        metavar="N",
        help=f"listeners at a time, for each load (default: {' '.join(map(str, STREAMS))})",
    )
    parser.add_argument(
        "--seconds",
        type=number_above(0),
        default=60.0,
        metavar="S",
        help="in which listeners arrive, for each load (default: 60)",
    )
    parser.add_argument(
        "--words",
        type=whole_from(1),
        nargs=2,
        default=(3, 40),
        metavar=("LEAST", "MOST"),
        help="of a text (default: 3 40)",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="for load.json and load.svg")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
