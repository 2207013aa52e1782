"""How much faster an engine speaks several texts side by side than one after the other.

In: an engine directory. Out: a table, a line for each number of rows: the time of a step, steps a
second of all rows together, and how many times as many that is as for one row. Only decoding is
timed, not the codec. All rows read the same prompt and sample with seeds of their own; a round
ends when the model stops one of them, so that every step has all rows. Numbers of rows take turns,
and each figure is a median.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.extras import importing
from commands.run import run_cli

with importing():
    from runtime.engines.rows import Request
    from runtime.speech.sampling import seeded
    from runtime.speech.synthesis import TTS
    from runtime.speed import DEFAULT_TEXT

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
    manifest = tts.bundle.manifest
    sampling = seeded(manifest.sampling, seed)
    prompt = tts.prompts.embed(tts.prompts.read(DEFAULT_TEXT), tts.speaker())
    room = manifest.language_model.max_positions - prompt.shape[1]
    settings = sampling.resolve(manifest.sampling)
    return Request(prompt, settings, sampling.random_generator(0), min(max_steps, room))


def format_timings(timings: Sequence[Timing]) -> str:
    """Markdown."""
    first = timings[0].steps_per_second
    lines = [
        "| rows | prompt, ms | step, ms | steps a second | times one row |",
        "|" + " --- |" * 5,
    ]
    for timing in timings:
        lines.append(
            f"| {timing.rows} | {timing.prompt_ms:.1f} | {timing.step_ms:.2f} | "
            f"{timing.steps_per_second:.0f} | {timing.steps_per_second / first:.2f} |"
        )
    return "\n".join(lines)


def _command(argv: Sequence[str] | None) -> None:
    parser = CommandParser(prog="python -m benchmarks.rows", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--engine", default="engine", metavar="DIR", help="default: engine")
    add("--rows", type=int, nargs="+", default=DEFAULT_ROWS, metavar="N", help="default: 1 4 16")
    add("--steps", type=int, default=50, metavar="N", help="of each row (default: 50)")
    add("--rounds", type=int, default=5, metavar="N", help="default: 5")
    add("--threads", type=int, metavar="N", help="default: the physical cores")
    arguments = parser.parse_args(argv)
    if arguments.steps < 1 or arguments.rounds < 1:
        raise UserError("--steps and --rounds take 1 or more")
    tts = TTS.load(arguments.engine, threads=arguments.threads)
    print(tts.describe(), file=sys.stderr)
    timings = measure_rows(tts, arguments.rows, arguments.steps, arguments.rounds)
    print(format_timings(timings))


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(_command, argv)


if __name__ == "__main__":
    sys.exit(main())
