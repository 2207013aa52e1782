"""The speed of a bundle with default threads and with fixed numbers of threads, alone and beside
busy neighbours: the tables in docs/performance.md.

In: a bundle. Out: a table of real-time factors, and a comparison with the default. The settings
take turns, sentence by sentence and in both orders. Each round runs once with and once without
neighbours. A machine that slows down therefore slows all settings down. Neighbours are processes of
this command that keep a processor busy. "Alone" means without them, so nothing else should run.
Each setting loads the bundle once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, add_engine, whole_from
from commands.progress import progress
from commands.run import run_command
from commands.tables import markdown_table
from runtime.speaking_options import MEASURED_TEXT

DEFAULT = "default"
BUSY = "print(flush=True)\nwhile True: pass"
MAX_OF_BEST, MAX_BESIDE = 1.05, 2.2  # limits for the default


class Timing(NamedTuple):
    """Seconds of the clock and of processors, for each second of audio."""

    clock: float
    processors: float


@dataclass(frozen=True)
class Row:
    """One setting: real-time factors (lower quartile, median, upper quartile), and the seconds of
    processors for each second of audio when alone."""

    setting: str
    alone: tuple[float, float, float]
    beside: tuple[float, float, float]
    processors: float


class TimedEngine:
    """An engine, loaded with one setting."""

    def __init__(self, engine: str, threads: int | None, max_steps: int | None) -> None:
        import numpy as np

        from runtime.speech.synthesis import TTS

        self._tts = TTS.load(engine, threads=threads)
        self._max_steps = max_steps
        random = np.random.default_rng(0)
        self._voice: Any = None  # the engine's own
        if not self._tts.bundle.manifest.voices:
            channels = self._tts.bundle.manifest.codec.speaker_channels
            self._voice = random.standard_normal(channels).astype(np.float32)
        print(self._tts.describe(), file=sys.stderr)

    def time(self, text: str, seed: int) -> Timing:
        """Stream `text` as a listener would."""
        from runtime.speech.sampling import seeded

        sampling = seeded(self._tts.bundle.manifest.sampling, seed)
        clock, processors = time.perf_counter(), time.process_time()
        chunks = self._tts.stream(
            text, voice=self._voice, sampling=sampling, max_steps=self._max_steps
        )
        seconds = sum(len(chunk.audio) for chunk in chunks) / self._tts.sample_rate
        if not seconds:
            raise UserError("the model said nothing for this text; give another with --text")
        return Timing(
            (time.perf_counter() - clock) / seconds, (time.process_time() - processors) / seconds
        )


def measure(
    engines: Mapping[str, TimedEngine], text: str, rounds: int, neighbours: int
) -> list[Row]:
    """Let the settings take turns."""
    alone: defaultdict[str, list[Timing]] = defaultdict(list)
    beside: defaultdict[str, list[Timing]] = defaultdict(list)
    for engine in engines.values():
        engine.time(text, seed=0)  # the first call is slower
    with progress("rounds", rounds, to_stderr=True) as stage:
        for number in stage.track(range(rounds)):
            order = list(engines)[:: 1 if number % 2 == 0 else -1]
            for count, timings in ((0, alone), (neighbours, beside)):
                with busy(count):
                    for setting in order:
                        timings[setting].append(engines[setting].time(text, number))
    return [summarise(setting, alone[setting], beside[setting]) for setting in engines]


@contextmanager
def busy(count: int) -> Iterator[None]:
    """`count` processes, each of which keeps a processor busy."""
    command = [sys.executable, "-c", BUSY]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # it has begun
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def summarise(setting: str, alone: Sequence[Timing], beside: Sequence[Timing]) -> Row:
    return Row(
        setting,
        quartiles([timing.clock for timing in alone]),
        quartiles([timing.clock for timing in beside]),
        quartiles([timing.processors for timing in alone])[1],
    )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    import numpy as np

    low, middle, high = np.percentile(values, (25, 50, 75)).tolist()
    return low, middle, high


def format_rows(rows: Sequence[Row], neighbours: int) -> str:
    """A Markdown table, and how the default compares with its limits."""
    titles = ["threads", "alone", "quartiles", "CPU s", f"beside {neighbours} busy", "quartiles"]
    table = markdown_table([*titles, "× alone"], [_cells(row) for row in rows])
    default, best = rows[0], min(rows[1:], key=lambda row: row.alone[1])
    return table + (
        f"\nalone: {default.alone[1] / best.alone[1]:.2f} × {best.setting} threads, "
        f"the best fixed number (limit {MAX_OF_BEST})\n"
        f"beside {neighbours} busy: {default.beside[1] / default.alone[1]:.2f} × alone "
        f"(limit {MAX_BESIDE})\n"
    )


def _cells(row: Row) -> list[str]:
    (low, middle, high), (busy_low, busy_middle, busy_high) = row.alone, row.beside
    return [
        row.setting,
        f"{middle:.3f}",
        f"{low:.3f} – {high:.3f}",
        f"{row.processors:.3f}",
        f"{busy_middle:.3f}",
        f"{busy_low:.3f} – {busy_high:.3f}",
        f"{busy_middle / middle:.2f}",
    ]


def run(arguments: argparse.Namespace) -> None:
    """Measure all settings and print the table."""
    settings = {DEFAULT: None, **{str(number): number for number in arguments.threads}}
    engines = {
        name: TimedEngine(str(arguments.engine), number, arguments.max_steps)
        for name, number in settings.items()
    }
    rows = measure(engines, arguments.text, arguments.rounds, arguments.busy)
    print(format_rows(rows, arguments.busy), end="")


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.thread_settings",
        "Compare an engine's speed with its default threads and with fixed numbers of them.",
    )
    add_engine(parser, default="engine")
    parser.add_argument(
        "--threads",
        type=whole_from(1),
        nargs="+",
        default=(1, 2),
        metavar="N",
        help="fixed numbers to compare with (default: 1 2)",
    )
    parser.add_argument("--text", default=MEASURED_TEXT, help="what to say")
    add_count(parser, "--rounds", "rounds through all settings", default=15)
    add_count(parser, "--busy", "busy neighbours", default=1, least=0)
    add_count(parser, "--max-steps", "bound for each sentence")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
