"""Whole systems for speech on the same sentences: the table in docs/peers.md.

In: what `make system-peers` made, and sentences. Out: a file with all figures, a folder with what
each system said, and a table. All systems are loaded once and speak in turn, in both orders, each
on one processor, from text to audio. Then the judges of `evaluation.speech` hear what was said.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cpu.contestants import Contestant, started
from benchmarks.systems.report import format_report
from benchmarks.systems.roster import SYSTEMS, System
from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, add_limit
from commands.progress import progress
from commands.run import run_command
from evaluation.sentences import DEFAULT_SENTENCES, Sentence, read_sentences
from formats.files.atomic import write_json

RECOGNISER = "whisper"
Figures = dict[str, list[list[float]]]


def run(arguments: argparse.Namespace) -> None:
    """Measure and judge, or take the figures of the last time, and print the table."""
    if not arguments.table:
        report = measure(arguments)
        write_json(arguments.output, report)
        report["judged"] = judge(arguments)
        write_json(arguments.output, report)
    elif not arguments.output.exists():
        raise UserError(f"{arguments.output}: is not there; leave out --table to measure")
    else:
        report = json.loads(arguments.output.read_text(encoding="utf-8"))
    print(format_report(report), end="")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything but the judgement: versions, sizes, figures of each sentence, memory."""
    sentences = read_sentences(arguments.sentences, arguments.limit)
    folders = {system.name: spoken_folder(arguments.audio, system) for system in SYSTEMS}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    places = (arguments.environments, arguments.files)
    described = {system.name: system.describe(*places) for system in SYSTEMS}
    commands = {system.name: system.command(*places) for system in SYSTEMS}
    with started(commands) as contestants:
        figures = speak(contestants, sentences, arguments.rounds, folders)
        for contestant in contestants:
            described[contestant.name] |= {
                "load_seconds": contestant.load_seconds,
                "memory_mib": contestant.ask({"measure": "memory"})[0],
                "said": figures[contestant.name],
            }
    return {"sentences": len(sentences), "rounds": arguments.rounds, "systems": described}


def speak(
    contestants: Sequence[Contestant],
    sentences: Sequence[Sentence],
    rounds: int,
    folders: Mapping[str, Path],
) -> Figures:
    """The figures of each sentence in each round, by name. The first sentence is spoken once more
    before, because the first call is slower."""
    figures: Figures = {contestant.name: [] for contestant in contestants}
    for contestant in contestants:
        contestant.ask({"measure": "say", "text": sentences[0].text, "seed": 0, "path": ""})
    with progress("speaking in turn", rounds * len(sentences), to_stderr=True) as stage:
        turns = [(number, *each) for number in range(rounds) for each in enumerate(sentences)]
        for turn, (number, index, sentence) in enumerate(stage.track(turns)):
            for contestant in contestants[:: 1 if turn % 2 == 0 else -1]:
                path = folders[contestant.name] / f"{index:02}.wav" if number == 0 else ""
                request = {"text": sentence.text, "seed": index, "path": str(path)}
                figures[contestant.name].append(contestant.ask({"measure": "say", **request}))
    return figures


def judge(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the judges say of the systems whose weights are not random, by name."""
    folder = arguments.audio / "judged"
    options = ["--sentences", str(arguments.sentences), "--recogniser", RECOGNISER]
    if arguments.limit:
        options += ["--limit", str(arguments.limit)]
    for system in SYSTEMS:
        if not system.noise:
            options += ["--wavs", f"{system.name}={spoken_folder(arguments.audio, system)}"]
    command = [sys.executable, "-m", "evaluation.speech", *options, "--output", str(folder)]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        raise UserError(
            f"the judges failed, as their message says; {arguments.audio} has the audio"
        )
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {
        "versions": report["judges"],
        "systems": {
            each["name"]: {
                "word_error_rate": each["word_error_rate"][RECOGNISER],
                "dnsmos": each["dnsmos"],
            }
            for each in report["systems"]
        },
    }


def spoken_folder(audio: Path, system: System) -> Path:
    """Where a system's recordings lie."""
    return audio / system.name.replace(", ", "-").replace(" ", "-")


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.systems.compare", "Compare whole systems for speech on the same sentences."
    )
    add = parser.add_argument
    add("--environments", type=Path, default=Path(".venv-systems"), help=_MADE)
    add("--files", type=Path, default=Path("runs/systems"), help=_MADE)
    add("--sentences", type=Path, default=DEFAULT_SENTENCES, metavar="FILE", help="one a line")
    add_limit(parser, "sentences", default=20)
    add_count(parser, "--rounds", "rounds through all sentences", default=2)
    add("--audio", type=Path, default=Path("runs/systems/spoken"), help="folder for what they say")
    add("--output", type=Path, default=Path("systems.json"), help="file of all figures")
    add("--table", action="store_true", help="print the table of --output, and measure nothing")
    return parser


_MADE = "folder of make system-peers"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
