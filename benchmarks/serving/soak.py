"""Thousands of requests, many at a time: each sounds as it does alone, and nothing is left behind.

In: a server that takes seeds, or a bundle, which the scheduler speaks in this process. Out: a
report, as JSON if asked for. It fails if a request was not as it must be, if memory grew by more
than `GROWTH` after the first tenth (of `FEW` requests or more: a few only warm it up), or if files,
threads or rows are left.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.serving.load import add_target, open_target
from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count
from commands.progress import tell
from commands.run import run_command

if TYPE_CHECKING:
    from benchmarks.serving.resources import Held
    from benchmarks.serving.soaking import Alone
    from benchmarks.serving.targets import Target

GROWTH = 0.05
FEW = 1000
WORDS = (1, 300)
BEGIN_BYTES = 16_384  # of beginnings that cancelled requests are compared by
SETTLE_SECONDS = 10.0  # until what listeners left is gone
SHOWN = 10  # wrong requests


def soak_target(target: Target, arguments: argparse.Namespace) -> dict[str, Any]:
    """The report."""
    import numpy as np

    from benchmarks.serving.resources import held_by
    from benchmarks.serving.soaking import make_requests, soak

    process = arguments.pid or os.getpid()
    random = np.random.default_rng(arguments.seed)
    known = _listen_alone(target, random, arguments.texts)
    idle = held_by(process)
    memory: list[Held] = []

    def note(ended: int) -> None:
        if ended % max(1, arguments.requests // 10) == 0:
            memory.append(held_by(process))
            tell(f"{ended} of {arguments.requests}: {memory[-1].memory_mib:.0f} MiB")

    start = time.monotonic()
    requests = make_requests(random, known, arguments.requests)
    results = soak(target, requests, arguments.listeners, note)
    seconds = time.monotonic() - start
    return {
        "target": target.name,
        "requests": arguments.requests,
        "seconds": seconds,
        "audio_seconds": results.audio_bytes / target.bytes_per_second,
        "counts": dict(results.counts),
        "wrong": results.wrong,
        "idle": asdict(idle),
        "tenths": [asdict(held) for held in memory],
        "end": asdict(_settle(process, idle)),
    }


def find_faults(report: dict[str, Any]) -> list[str]:
    """A line for each thing that is not as it must be."""
    faults = list(report["wrong"])
    early, end, idle = report["tenths"][0], report["end"], report["idle"]
    growth = end["memory_mib"] / early["memory_mib"] - 1
    if growth > GROWTH and report["requests"] >= FEW:
        faults.append(f"memory grew by {growth:.1%} after the first tenth")
    for what in ("files", "threads"):
        if end[what] > idle[what]:
            faults.append(f"{end[what] - idle[what]} {what} are left")
    if report.get("left"):
        faults.append(f"rows or places in the queue are left: {report['left']}")
    return faults


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
    from formats.files.atomic import write_text

    with open_target(arguments) as target:
        tell(target.name)
        report = soak_target(target, arguments)
        if isinstance(target, InProcess):
            report["left"] = target.wait_until_idle(SETTLE_SECONDS)
    report["faults"] = find_faults(report)
    if arguments.output:
        write_text(arguments.output, json.dumps(report, indent=1) + "\n")
    counts = ", ".join(f"{count} {what}" for what, count in sorted(report["counts"].items()))
    print(f"{report['requests']} requests in {report['seconds']:.0f} s: {counts}")
    print(f"{report['audio_seconds']:.0f} seconds of audio, {len(report['wrong'])} wrong")
    for when in ("idle", "end"):
        print(f"{when}: " + ", ".join(f"{what} {n:g}" for what, n in report[when].items()))
    if report["faults"]:
        more = (
            "" if len(report["faults"]) <= SHOWN else f" and {len(report['faults']) - SHOWN} more"
        )
        raise UserError("; ".join(report["faults"][:SHOWN]) + more)


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.serving.soak", "Compare many requests at a time with the same ones alone."
    )
    add_target(parser)
    add_count(parser, "--requests", "in all", default=1000)
    add_count(parser, "--texts", "different ones, of 1 to 300 words", default=100)
    add_count(parser, "--listeners", "at a time", default=24)
    add_count(parser, "--pid", "the server's process (default: this one)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="for the report, as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
