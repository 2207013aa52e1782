"""Thousands of requests, many at a time: each sounds as it does alone, and nothing is left behind.

In: a server that takes seeds, or a bundle, which the scheduler speaks in this process. Out: a
report, as JSON if asked for. It fails if a request was not as it must be, if memory grew by more
than `GROWTH` after the first tenth (of `FEW` requests or more: a few only warm it up), or if files,
rows or more threads than after the first tenth are left. A soak of a server can be stopped, and
goes on with the same process.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.serving.load import add_target, open_target
from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.interruption import Interruption
from commands.options import add_count, add_max_minutes
from commands.progress import tell
from commands.run import run_command

if TYPE_CHECKING:
    from benchmarks.serving.resources import Held
    from benchmarks.serving.soak_state import SoakState
    from benchmarks.serving.soaking import Alone
    from benchmarks.serving.targets import Target

WORDS = (1, 300)
BEGIN_BYTES = 16_384  # of beginnings that cancelled requests are compared by
SETTLE_SECONDS = 10.0  # until what listeners left is gone
SHOWN = 10  # wrong requests


def soak_target(
    target: Target, state: SoakState, arguments: argparse.Namespace, interruption: Interruption
) -> None:
    """Ask for what is left, or until it is to stop, and note what was found."""
    import numpy as np

    from benchmarks.serving.resources import held_by
    from benchmarks.serving.soaking import make_requests, soak

    process = arguments.pid or os.getpid()
    random = np.random.default_rng(arguments.seed)
    known = _listen_alone(target, random, arguments.texts)
    requests = make_requests(random, known, arguments.requests)[state.ended :]
    state.idle = state.idle or held_by(process)
    start = time.monotonic()

    def note(_: int) -> None:
        state.ended += 1
        if state.is_tenth:
            state.tenths.append(held_by(process))
            tell(f"{state.ended} of {state.requests}: {state.tenths[-1].memory_mib:.0f} MiB")

    results = soak(target, requests, arguments.listeners, note, lambda: interruption.requested)
    seconds = time.monotonic() - start
    state.add(results, seconds, results.audio_bytes / target.bytes_per_second)
    state.end = _settle(process, state.idle)


def _listen_alone(target: Target, random: Any, texts: int) -> list[Alone]:
    from benchmarks.serving.asking import mixed_asks
    from benchmarks.serving.soaking import listen_alone

    asks = mixed_asks(random, texts, target.voices, WORDS)
    return [listen_alone(target, ask, BEGIN_BYTES) for ask in asks]


def _settle(process: int, idle: Held) -> Held:
    """Wait until files and threads are as before, or for the time allowed."""
    from benchmarks.serving.resources import held_by

    end = time.monotonic() + SETTLE_SECONDS
    while True:
        held = held_by(process)
        is_as_before = held.files <= idle.files and held.threads <= idle.threads
        if is_as_before or time.monotonic() > end:
            return held
        time.sleep(0.1)


def run(arguments: argparse.Namespace) -> None:
    """Soak, print what was found and fail if that is not as it must be."""
    from benchmarks.serving.in_process import InProcess
    from benchmarks.serving.soak_state import read_state

    state = read_state(arguments.output, _inputs(arguments))
    with Interruption(arguments.max_minutes) as interruption:
        if not state.is_complete:
            with open_target(arguments) as target:
                tell(target.name)
                soak_target(target, state, arguments, interruption)
                if isinstance(target, InProcess):
                    state.left = target.wait_until_idle(SETTLE_SECONDS)
        if arguments.output and (state.is_complete or arguments.engine is None):
            state.write(arguments.output)
        if not state.is_complete:
            interruption.leave(_describe_stop(state, arguments))
    _report(state)


def _inputs(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("url", "pid", "voices", "fields", "sample_rate", "seed", "requests", "texts")
    engine = None if arguments.engine is None else str(arguments.engine)
    return {name: getattr(arguments, name) for name in names} | {"engine": engine}


def _describe_stop(state: SoakState, arguments: argparse.Namespace) -> str:
    done = f"stopped: {state.ended} of {state.requests} requests have ended"
    if arguments.engine is not None or arguments.output is None:
        return f"{done}; without a server and --output, the soak begins anew"
    return f"{done}; go on, with the same process, with: {arguments.command_line}"


def _report(state: SoakState) -> None:
    counts = ", ".join(f"{count} {what}" for what, count in sorted(state.counts.items()))
    print(f"{state.requests} requests in {sum(state.parts):.0f} s: {counts}")
    print(f"{state.audio_seconds:.0f} seconds of audio, {len(state.wrong)} wrong")
    for when, held in (("idle", state.idle), ("end", state.end)):
        assert held is not None
        print(f"{when}: {held.memory_mib:.0f} MiB, {held.files} files, {held.threads} threads")
    if faults := state.faults():
        more = "" if len(faults) <= SHOWN else f" and {len(faults) - SHOWN} more"
        raise UserError("; ".join(faults[:SHOWN]) + more)


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.serving.soak", "Compare many requests at a time with the same ones alone."
    )
    add_target(parser)
    add_count(parser, "--requests", "in all", default=1000)
    add_count(parser, "--texts", "different ones, of 1 to 300 words", default=100)
    add_count(parser, "--listeners", "at a time", default=24)
    add_count(parser, "--pid", "the server's process (default: this one)")
    add_max_minutes(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="for the report, as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
