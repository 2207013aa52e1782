"""How fast an engine speaks with its default threads and with fixed numbers of them, alone and
beside busy neighbours: one command for the tables in docs/performance.md.

In: an engine directory. Out: a table of real-time factors, and how the default compares. The
settings take turns, sentence by sentence and in both orders, and each round passes once with and
once without neighbours, so that a machine that slows down slows all of them. Neighbours are
processes of this command's that count; "alone" means without them, so nothing else should run.
Each setting holds the engine in memory once.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_cli
from runtime.speed import DEFAULT_TEXT

DEFAULT = "default"
BUSY = "print(flush=True)\nwhile True: pass"
MAX_OF_BEST, MAX_BESIDE = 1.05, 2.2  # what the default is held to


class Timing(NamedTuple):
    """Seconds by the clock and of processors, per second of audio."""

    clock: float
    processors: float


@dataclass(frozen=True)
class Row:
    """Real-time factors of one setting: lower quartile, median, upper quartile; and processors'
    seconds per second of audio, alone."""

    setting: str
    alone: tuple[float, float, float]
    beside: tuple[float, float, float]
    processors: float


class Speaker:
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


def measure(speakers: Mapping[str, Speaker], text: str, rounds: int, neighbours: int) -> list[Row]:
    """Let the settings take turns."""
    alone: defaultdict[str, list[Timing]] = defaultdict(list)
    beside: defaultdict[str, list[Timing]] = defaultdict(list)
    for speaker in speakers.values():
        speaker.time(text, seed=0)  # the first call is slower
    for number in range(rounds):
        order = list(speakers)[:: 1 if number % 2 == 0 else -1]
        for count, timings in ((0, alone), (neighbours, beside)):
            with busy(count):
                for setting in order:
                    timings[setting].append(speakers[setting].time(text, number))
        print(f"\rround {number + 1}/{rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [summarise(setting, alone[setting], beside[setting]) for setting in speakers]


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that want a processor each, all of the time."""
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
    """Markdown, and what became of the default's limits."""
    lines = [
        f"| threads | alone | quartiles | CPU s | beside {neighbours} busy | quartiles | × alone |",
        "|" + " --- |" * 7,
    ]
    for row in rows:
        (low, middle, high), (busy_low, busy_middle, busy_high) = row.alone, row.beside
        lines.append(
            f"| {row.setting} | {middle:.3f} | {low:.3f} – {high:.3f} | {row.processors:.3f} "
            f"| {busy_middle:.3f} | {busy_low:.3f} – {busy_high:.3f} | {busy_middle / middle:.2f} |"
        )
    default, best = rows[0], min(rows[1:], key=lambda row: row.alone[1])
    return "\n".join(
        [
            *lines,
            "",
            f"alone: {default.alone[1] / best.alone[1]:.2f} × {best.setting} threads, "
            f"the best fixed number (limit {MAX_OF_BEST})",
            f"beside {neighbours} busy: {default.beside[1] / default.alone[1]:.2f} × alone "
            f"(limit {MAX_BESIDE})",
        ]
    )


def _command(argv: Sequence[str] | None) -> None:
    parser = CommandParser(
        prog="python -m benchmarks.thread_settings", description=__doc__.split("\n\n")[0]
    )
    add = parser.add_argument
    add("--engine", default="engine", metavar="DIR", help="default: engine")
    add("--threads", type=int, nargs="+", default=(1, 2), metavar="N", help="default: 1 2")
    add("--text", default=DEFAULT_TEXT)
    add("--rounds", type=int, default=15, metavar="N", help="default: 15")
    add("--busy", type=int, default=1, metavar="N", help="neighbours (default: 1)")
    add("--max-steps", type=int, metavar="N", help="bound for each sentence")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1 or arguments.busy < 0:
        raise UserError("--rounds takes 1 or more, --busy 0 or more")
    settings = {DEFAULT: None, **{str(number): number for number in arguments.threads}}
    speakers = {
        name: Speaker(arguments.engine, number, arguments.max_steps)
        for name, number in settings.items()
    }
    rows = measure(speakers, arguments.text, arguments.rounds, arguments.busy)
    print(format_rows(rows, arguments.busy))


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(_command, argv)


if __name__ == "__main__":
    sys.exit(main())
