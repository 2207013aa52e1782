"""How much faster several texts are spoken side by side than one after the other.

In: a bundle. Out: a table with a line for each number of rows: the time of a step, the steps per
second of all rows together, and their ratio to one row. Only decoding is timed, not the codec. All
rows read the same prompt, each with its own seed. A round ends when the model stops one of them, so
that every step has all rows. Numbers of rows take turns, and each figure is a median.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, add_engine, add_threads, whole_from
from commands.run import run_command
from commands.tables import markdown_table

if TYPE_CHECKING:
    from runtime.engines.rows import Request
    from runtime.speech.synthesis import TTS

DEFAULT_ROWS = (1, 4, 16)


@dataclass(frozen=True)
class Timing:
    """Medians of one number of rows."""

    rows: int
    prompt_ms: float  # of one row
    step_ms: float

    @property
    def steps_per_second(self) -> float:
        """Of all rows together."""
        return 1000 * self.rows / self.step_ms


def measure_rows(tts: TTS, counts: Sequence[int], steps: int, rounds: int) -> list[Timing]:
    """Time each number of rows, in turns.

    Raises:
        UserError: more rows than the engine takes.
    """
    prompts: dict[int, list[float]] = defaultdict(list)
    times: dict[int, list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        for count in counts:
            begun, stepped = _time_rows(tts, count, steps)
            if number:  # the first round is slower
                prompts[count].append(begun / count)
                times[count] += stepped
    if not all(times[count] for count in counts):
        raise UserError("the model stopped before its second step; give another engine")
    return [
        Timing(
            count, 1e3 * statistics.median(prompts[count]), 1e3 * statistics.median(times[count])
        )
        for count in counts
    ]


def _time_rows(tts: TTS, count: int, steps: int) -> tuple[float, list[float]]:
    """Seconds of the first step, which reads the prompts, and of each later one."""
    with tts.decoder.open_rows(count) as loop:
        for seed in range(count):
            loop.add(_request(tts, seed, steps + 1))
        start = time.perf_counter()
        loop.step()
        begun, times = time.perf_counter() - start, []
        for _ in range(steps):
            start = time.perf_counter()
            if len(loop.step()) < count:
                break  # the model stopped a row by itself
            times.append(time.perf_counter() - start)
    return begun, times


def _request(tts: TTS, seed: int, max_steps: int) -> Request:
    from runtime.engines.rows import Request
    from runtime.scheduling.capacity import fixed_speaker
    from runtime.speaking_options import MEASURED_TEXT
    from runtime.speech.sampling import seeded

    manifest = tts.bundle.manifest
    sampling = seeded(manifest.sampling, seed)
    prompt = tts.prompts.embed(tts.prompts.read(MEASURED_TEXT), fixed_speaker(tts))
    room = manifest.language_model.max_positions - prompt.shape[1]
    settings = sampling.resolve(manifest.sampling)
    return Request(prompt, settings, sampling.random_generator(0), min(max_steps, room))


def format_timings(timings: Sequence[Timing]) -> str:
    """A Markdown table."""
    first = timings[0].steps_per_second
    titles = ["rows", "prompt, ms", "step, ms", "steps a second", "times one row"]
    rows = [
        [
            str(timing.rows),
            f"{timing.prompt_ms:.1f}",
            f"{timing.step_ms:.2f}",
            f"{timing.steps_per_second:.0f}",
            f"{timing.steps_per_second / first:.2f}",
        ]
        for timing in timings
    ]
    return markdown_table(titles, rows)


def run(arguments: argparse.Namespace) -> None:
    """Measure all numbers of rows and print the table."""
    from runtime.speech.synthesis import TTS

    tts = TTS.load(arguments.engine, threads=arguments.threads)
    print(tts.describe(), file=sys.stderr)
    timings = measure_rows(tts, arguments.rows, arguments.steps, arguments.rounds)
    print(format_timings(timings), end="")


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.rows", "Compare the speed of several texts side by side with one at a time."
    )
    add_engine(parser, default="engine")
    parser.add_argument(
        "--rows",
        type=whole_from(1),
        nargs="+",
        default=DEFAULT_ROWS,
        metavar="N",
        help="numbers of rows to compare (default: 1 4 16)",
    )
    add_count(parser, "--steps", "steps of each row", default=50)
    add_count(parser, "--rounds", "rounds through all numbers of rows", default=5)
    add_threads(parser, "the engine (default: the physical cores)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
