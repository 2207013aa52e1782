"""`python -m evaluation.speech`: judge what bundles, codecs and recordings say.

In: a list of sentences and the systems that say them (`evaluation.systems`). Out, in one folder:
`report.json`, `report.md`, `report.png`, the worst sentences of each system as WAVs, and on request
spectrograms and a matrix of voices against speakers. The judges (`evaluation.jury`) are two
recognisers, DNSMOS and a speaker-verification network; none has heard the training data. Their
answers are kept in `judged.jsonl`. If the command is given again, or after an interruption, they
are asked only about new audio.

`run` joins the parts: `evaluation.systems` has what speaks, `evaluation.jury` asks the judges,
`evaluation.report` has the figures of one system.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.interruption import Interruption
from commands.options import (
    add_count,
    add_limit,
    add_max_minutes,
    add_output,
    add_seed,
    add_threads,
)
from commands.progress import progress
from commands.run import run_command
from evaluation.sentences import DEFAULT_SENTENCES, describe_file, read_sentences

if TYPE_CHECKING:
    from evaluation.jury import Jury
    from evaluation.report import Report
    from evaluation.sentences import Sentence
    from evaluation.speaker_matrix import SpeakerMatrix
    from evaluation.systems import SpokenSentence, System

RECOGNISERS = ("whisper", "pocketsphinx")
OTHER_RECOGNISERS = ("whisper-base",)
CACHE_FILE = "judged.jsonl"

EXAMPLES = """\
examples:
  three models, what their codec makes of recordings, and the recordings:
    python -m evaluation.speech --wavs teacher=recordings --codec engine-6 \\
        --engine engine-3 --engine engine-6 --engine engine-12
  does every voice sound like its speaker (references/NAME/*.wav)?
    python -m evaluation.speech --engine engine-6 --voice all --references references"""


def make_parser() -> CommandParser:
    parser = command_parser(
        "evaluation.speech", "Judge what bundles, codecs and recordings say.", more=EXAMPLES
    )
    _add_systems(parser.add_argument_group("who speaks (each can be repeated)"))
    add = parser.add_argument
    add(
        "--sentences",
        type=Path,
        default=DEFAULT_SENTENCES,
        metavar="FILE",
        help="one a line (default: samples/evaluation/everyday.txt of this clone)",
    )
    add_limit(parser, "sentences")
    add_seed(parser, "--first-seed", "seed of the first sentence")
    add("--references", type=Path, metavar="DIR", help="DIR/NAME/: recordings of the speaker NAME")
    add(
        "--recogniser",
        action="append",
        choices=[*RECOGNISERS, *OTHER_RECOGNISERS, "none"],
        help="can be repeated (default: whisper and pocketsphinx)",
    )
    add_threads(parser, "the bundle and Whisper")
    add_output(parser, "folder for the reports", default="judged")
    add_count(parser, "--worst", "sentences to keep as WAV", default=5, least=0)
    add_count(parser, "--spectrograms", "draw the first N sentences", default=0, least=0)
    add_max_minutes(parser)
    return parser


def _add_systems(group: argparse._ArgumentGroup) -> None:
    def add(option: str, metavar: str, text: str) -> None:
        group.add_argument(option, action="append", default=[], metavar=metavar, help=text)

    add("--engine", "[NAME=]DIR", "a bundle, at its default sampling")
    add("--voice", "NAME|FILE|all", "speak in it; all: each voice of the bundle")
    add("--wavs", "[NAME=]DIR", "recordings of the sentences, with texts or sorted by name")
    add("--codec", "[NAME=]DIR", "a bundle whose codec encodes and decodes the --wavs")
    group.add_argument(
        "--trim-silence", action="store_true", help="around the --wavs, as train.prepare does"
    )


def run(arguments: argparse.Namespace) -> None:
    """Judge every system that the arguments name."""
    _check(arguments)
    interruption = Interruption(arguments.max_minutes)
    from evaluation.jury import Jury
    from evaluation.plots import plotting

    sentences = read_sentences(arguments.sentences, arguments.limit)
    plotting()  # a missing package is reported now, not after an hour
    systems = open_systems(arguments, sentences)
    arguments.output.mkdir(parents=True, exist_ok=True)
    judges = [name for name in arguments.recogniser or RECOGNISERS if name != "none"]
    jury = Jury(judges, arguments.references, arguments.output / CACHE_FILE, arguments.threads)
    if jury.speakers:
        from evaluation.speaker_matrix import check_voices

        check_voices([system.voice for system in systems if system.voice], jury.speakers)
    reports = []
    check = stop_check(interruption, arguments)
    with interruption:
        for system in systems:
            report, spoken = judge_system(system, jury, len(sentences), check)
            keep_for_listening(arguments, report, spoken)
            reports.append(report)
    matrices = make_matrices(reports, jury.speakers) if jury.speakers else []
    write_reports(arguments, jury, reports, matrices)


def _check(arguments: argparse.Namespace) -> None:
    if not (arguments.engine or arguments.wavs):
        raise UserError("nothing to evaluate; give --engine DIR or --wavs DIR")
    if arguments.codec and not arguments.wavs:
        raise UserError("--codec needs recordings to encode; give --wavs DIR")
    if arguments.trim_silence and not arguments.wavs:
        raise UserError("--trim-silence works on recordings; give --wavs DIR")
    if arguments.voice and not arguments.engine:
        raise UserError("--voice names a voice of a bundle; give --engine DIR")
    if arguments.references is not None and not arguments.references.is_dir():
        raise UserError(f"{arguments.references}: no such directory; --references DIR")


def open_systems(arguments: argparse.Namespace, sentences: Sequence[Sentence]) -> list[System]:
    """Recordings first, then their copies through codecs, then bundles."""
    from evaluation.systems import open_bundle, open_codec_copy, open_recordings

    wavs = [parse_named(given) for given in arguments.wavs]
    trim = arguments.trim_silence
    systems = [open_recordings(name, folder, sentences, trim) for name, folder in wavs]
    for name, engine in map(parse_named, arguments.codec):
        for wavs_name, folder in wavs:
            recordings = open_recordings(wavs_name, folder, sentences, trim)
            title = f"{wavs_name} through {name}"
            systems.append(open_codec_copy(title, engine, recordings, arguments.threads))
    for name, engine in map(parse_named, arguments.engine):
        systems += open_bundle(
            name, engine, sentences, arguments.voice, arguments.threads, arguments.first_seed
        )
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise UserError(f"two systems have one name; write NAME=DIR ({', '.join(names)})")
    return systems


def parse_named(argument: str) -> tuple[str, Path]:
    """[NAME=]DIR -> name and an existing directory."""
    name, mark, folder = argument.rpartition("=")
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"{path}: no such directory")
    return (name if mark else path.resolve().name), path


def stop_check(interruption: Interruption, arguments: argparse.Namespace) -> Callable[[], None]:
    """A function that ends the command if it is to stop, and says how to go on."""
    kept = arguments.output / CACHE_FILE
    message = f"{kept} keeps what the judges said; go on with: {arguments.command_line}"
    return lambda: interruption.leave_if_requested(message)


def judge_system(
    system: System, jury: Jury, total: int, check: Callable[[], None] = lambda: None
) -> tuple[Report, list[SpokenSentence]]:
    """The report on one system, and its `total` sentences; `check` is called after each of them."""
    from evaluation.report import summarise

    spoken, verdicts = [], []
    with progress(system.name, total, to_stderr=True) as stage:
        for sentence in stage.track(system.spoken):
            spoken.append(sentence)
            verdicts.append(jury.judge(sentence))
            check()
    return summarise(system, spoken, verdicts), spoken


def keep_for_listening(
    arguments: argparse.Namespace, report: Report, spoken: list[SpokenSentence]
) -> None:
    """Write the files that let a person hear and see one system."""
    from evaluation.listening import save_spectrograms, save_worst

    save_worst(arguments.output, report, spoken, arguments.worst)
    if arguments.spectrograms:
        save_spectrograms(arguments.output, report, spoken, arguments.spectrograms)


def make_matrices(reports: Sequence[Report], speakers: Sequence[str]) -> list[SpeakerMatrix]:
    """One matrix for each bundle with named voices, and one for the recordings that are named after
    speakers: it shows how well the judge tells them apart at best."""
    from evaluation.speaker_matrix import make_matrix

    asked = [report for report in reports if report.engine and report.voice]
    asked += [
        replace(report, engine="recordings", voice=report.name)
        for report in reports
        if report.engine is None and report.name in speakers
    ]
    engines = dict.fromkeys(report.engine for report in asked if report.engine)
    return [make_matrix(name, [r for r in asked if r.engine == name]) for name in engines]


def write_reports(
    arguments: argparse.Namespace,
    jury: Jury,
    reports: Sequence[Report],
    matrices: Sequence[SpeakerMatrix],
) -> None:
    """report.md, report.json and the plots; the tables also go to stdout."""
    from evaluation.plots import plot_matrix, plot_reports
    from evaluation.report import format_reports
    from evaluation.speaker_matrix import format_matrix
    from formats.files.atomic import write_json, write_text

    content = {
        "sentences": describe_file(arguments.sentences),
        "first_seed": arguments.first_seed,
        "trim_silence": arguments.trim_silence,
        "judges": jury.versions,
        "systems": [asdict(report) for report in reports],
        "speaker_matrices": [asdict(matrix) for matrix in matrices],
    }
    text = "\n".join([format_reports(reports), *(format_matrix(matrix) for matrix in matrices)])
    write_json(arguments.output / "report.json", content)
    write_text(arguments.output / "report.md", text)
    plot_reports(reports, arguments.output / "report.png")
    for matrix in matrices:
        plot_matrix(matrix, arguments.output / f"speakers-{matrix.engine}.png")
    print(text, end="")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
