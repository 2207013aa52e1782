"""Servers of speech side by side, each alone on the machine in turn, under the same loads.

In: what `make server-peers` made, and a bundle, which `runtime.serve` serves. Out: a table, and a
file with all figures. Every server is its package's own, unchanged; texts and moments are the same
for all. One that falls behind a load, so that half of its texts take longer than they last, is
offered no higher one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, number_above, whole_from
from commands.progress import tell
from commands.run import run_command

if TYPE_CHECKING:
    from benchmarks.serving.peers.roster import Server
    from benchmarks.serving.peers.running import Running

STREAMS = (1, 4, 8, 16)


def measure_server(server: Server, arguments: argparse.Namespace) -> dict[str, Any]:
    """Start it, offer the loads, and end it."""
    from benchmarks.serving.peers.roster import Places
    from benchmarks.serving.peers.running import find_version, started
    from benchmarks.serving.resources import held_by

    places = Places(arguments.environments, arguments.files, arguments.engine)
    version = find_version(server, places)
    with started(server, places, arguments.files / "logs") as running:
        tell(f"{server.name} {version}: ready after {running.ready_seconds:.1f} s")
        levels = _measure_levels(running, arguments)
        return {
            "version": version,
            "ready_seconds": running.ready_seconds,
            "memory_mib": held_by(running.process).memory_mib,
            "levels": levels,
        }


def _measure_levels(running: Running, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    import numpy as np

    from benchmarks.serving.load import measure_level, warm_up
    from benchmarks.serving.resources import processor_seconds

    random = np.random.default_rng(arguments.seed)
    arguments.mean_seconds = warm_up(running.target, random, arguments.words)
    levels: list[dict[str, Any]] = []
    for streams in arguments.streams:
        before = processor_seconds(running.process)
        random = np.random.default_rng((arguments.seed, round(1000 * streams)))
        level = measure_level(running.target, random, streams, arguments)
        work = processor_seconds(running.process) - before
        levels.append({**asdict(level), "processor": work / max(level.audio_seconds, 1e-9)})
        factor = level.real_time_factor[0] if level.real_time_factor else float("inf")
        tell(f"{streams:g} streams: {level.throughput:.1f} s of audio a second, RTF {factor:.2f}")
        if factor > 1:
            tell("it falls behind; no higher load is offered")
            break
    return levels


def run(arguments: argparse.Namespace) -> None:
    """Measure, or take the figures of the last time, and print the table."""
    from benchmarks.serving.peers.report import format_report
    from formats.files.atomic import write_json

    if not arguments.table:
        names = ("streams", "seconds", "words", "seed")
        report: dict[str, Any] = {name: getattr(arguments, name) for name in names}
        report["servers"] = {}
        for server in _choose(arguments.only):  # if one fails, the others' figures are kept
            report["servers"][server.name] = measure_server(server, arguments)
            write_json(arguments.output, report)
    elif not arguments.output.exists():
        raise UserError(f"{arguments.output}: is not there; leave out --table to measure")
    else:
        report = json.loads(arguments.output.read_text("utf-8"))
    print(format_report(report), end="")


def _choose(names: Sequence[str] | None) -> list[Server]:
    """Raises `UserError` for one that nobody knows."""
    from benchmarks.serving.peers.roster import SERVERS

    known = {server.name: server for server in SERVERS}
    for name in names or ():
        if name not in known:
            raise UserError(f"no server {name!r}; there are: {'; '.join(known)}")
    return [server for name, server in known.items() if names is None or name in names]


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.serving.compare", "Compare servers of speech under the same loads."
    )
    add = parser.add_argument
    add("--engine", type=Path, default=Path("demo-engine"), metavar="DIR", help="bundle for ours")
    add("--environments", type=Path, default=Path(".venv-servers"), help=_MADE)
    add("--files", type=Path, default=Path("runs/servers"), help=_MADE)
    add("--only", nargs="+", metavar="NAME", help="these servers (default: all)")
    add("--streams", type=number_above(0), nargs="+", default=STREAMS, metavar="N", help=_STREAMS)
    add("--seconds", type=number_above(0), default=60.0, metavar="S", help=_SECONDS)
    add("--words", type=whole_from(1), nargs=2, default=(3, 12), metavar="N", help=_WORDS)
    add_count(parser, "--seed", "of texts and moments", default=1, least=0)
    add("--output", type=Path, default=Path("servers.json"), help="file of all figures")
    add("--table", action="store_true", help="print the table of --output, and measure nothing")
    return parser


_MADE = "folder of make server-peers"
_STREAMS = "listeners at a time, for each load (default: 1 4 8 16)"
_SECONDS = "in which listeners arrive, for each load (default: 60)"
_WORDS = "of a text, at least and at most (default: 3 12)"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
