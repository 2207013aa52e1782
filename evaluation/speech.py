"""`python -m evaluation.speech`: judge what bundles, codecs and recordings say.

In: a list of sentences and what has to say them (`evaluation.systems`). Out, in one folder:
`report.json`, `report.md`, `report.png`, the worst utterances of each system as WAVs, and on
request spectrograms and a matrix of voices against speakers. The judges (`evaluation.jury`) are two
recognisers, DNSMOS and a speaker-verification network; none has heard the training data. What they
said is kept in `judged.jsonl`, so that a second run, or one after an interruption, asks them only
about audio that they have not heard.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_cli

if TYPE_CHECKING:
    from evaluation.jury import Jury
    from evaluation.report import Report
    from evaluation.speaker_matrix import SpeakerMatrix
    from evaluation.systems import Sentence, System, Utterance

SAMPLES = Path(__file__).parents[1] / "samples"  # of a clone, wherever one works
DEFAULT_SENTENCES = SAMPLES / "evaluation" / "everyday.txt"
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


def build_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m evaluation.speech",
        description="Judge what bundles, codecs and recordings say.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    add("--limit", type=int, metavar="N", help="only the first N sentences")
    add("--first-seed", type=int, default=0, metavar="N", help="of the first sentence (default: 0)")
    add("--references", type=Path, metavar="DIR", help="DIR/NAME/: recordings of the speaker NAME")
    add(
        "--recogniser",
        action="append",
        choices=[*RECOGNISERS, *OTHER_RECOGNISERS, "none"],
        help="can be repeated (default: whisper and pocketsphinx)",
    )
    add("--threads", type=int, metavar="N", help="of the bundle and of Whisper")
    add("--output", type=Path, default=Path("judged"), metavar="DIR")
    add("--worst", type=int, default=5, metavar="N", help="utterances to keep (default: 5)")
    add("--spectrograms", type=int, default=0, metavar="N", help="draw the first N utterances")
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


def run(argv: Sequence[str] | None) -> None:
    """Evaluate every system that the arguments name."""
    arguments = build_parser().parse_args(argv)
    _check(arguments)
    from evaluation.jury import Jury
    from evaluation.plots import plotting
    from evaluation.systems import read_sentences

    sentences = read_sentences(arguments.sentences, arguments.limit)
    plotting()  # what is missing should be missed now, not after an hour
    systems = open_systems(arguments, sentences)
    arguments.output.mkdir(parents=True, exist_ok=True)
    judges = [name for name in arguments.recogniser or RECOGNISERS if name != "none"]
    jury = Jury(judges, arguments.references, arguments.output / CACHE_FILE, arguments.threads)
    if jury.speakers:
        from evaluation.speaker_matrix import check_voices

        check_voices([system.voice for system in systems if system.voice], jury.speakers)
    reports = []
    for system in systems:
        report, spoken = judge_system(system, jury, len(sentences))
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
        raise UserError("--trim-silence is of recordings; give --wavs DIR")
    if arguments.voice and not arguments.engine:
        raise UserError("--voice is of a bundle; give --engine DIR")
    if arguments.references is not None and not arguments.references.is_dir():
        raise UserError(f"{arguments.references}: no such directory; --references DIR")
    for option in ("limit", "threads"):
        if getattr(arguments, option) is not None and getattr(arguments, option) < 1:
            raise UserError(f"--{option} takes 1 or more")
    if arguments.first_seed < 0:
        raise UserError("--first-seed takes 0 or more")


def open_systems(arguments: argparse.Namespace, sentences: Sequence[Sentence]) -> list[System]:
    """Recordings first, then what codecs make of them, then bundles."""
    from evaluation.systems import open_bundle, open_codec, open_recordings

    wavs = [parse_named(given) for given in arguments.wavs]
    trim = arguments.trim_silence
    systems = [open_recordings(name, folder, sentences, trim) for name, folder in wavs]
    for name, engine in map(parse_named, arguments.codec):
        for wavs_name, folder in wavs:
            recordings = open_recordings(wavs_name, folder, sentences, trim)
            title = f"{wavs_name} through {name}"
            systems.append(open_codec(title, engine, recordings, arguments.threads))
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


def judge_system(system: System, jury: Jury, total: int) -> tuple[Report, list[Utterance]]:
    """The report on one system, and what it said; counts its `total` utterances on stderr."""
    from evaluation.report import summarise

    spoken, verdicts = [], []
    for utterance in _watch(system, total):
        spoken.append(utterance)
        verdicts.append(jury.judge(utterance))
    return summarise(system, spoken, verdicts), spoken


def keep_for_listening(
    arguments: argparse.Namespace, report: Report, spoken: list[Utterance]
) -> None:
    """Write what a person should hear and see of one system."""
    from evaluation.listening import save_spectrograms, save_worst

    save_worst(arguments.output, report, spoken, arguments.worst)
    if arguments.spectrograms:
        save_spectrograms(arguments.output, report, spoken, arguments.spectrograms)


def _watch(system: System, total: int) -> Iterator[Utterance]:
    """The system's utterances, counted on stderr once they are judged."""
    for number, utterance in enumerate(system.utterances, 1):
        yield utterance
        print(f"\r{system.name}: {number}/{total}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def describe_file(path: Path) -> str:
    """A file as reports name it: one of this clone from its root on, whose machine does not
    matter."""
    root = SAMPLES.parent
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def make_matrices(reports: Sequence[Report], speakers: Sequence[str]) -> list[SpeakerMatrix]:
    """One matrix for each bundle that was asked for voices, and one for the recordings that are
    named after speakers: what the judge can tell apart at best."""
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
    from evaluation.report import format_table
    from evaluation.speaker_matrix import format_matrix
    from formats.files.atomic import write_atomically

    content = {
        "sentences": describe_file(arguments.sentences),
        "first_seed": arguments.first_seed,
        "trim_silence": arguments.trim_silence,
        "judges": jury.versions,
        "systems": [asdict(report) for report in reports],
        "speaker_matrices": [asdict(matrix) for matrix in matrices],
    }
    text = "\n".join([format_table(reports), *(format_matrix(matrix) for matrix in matrices)])
    as_json = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(arguments.output / "report.json", as_json.encode())
    write_atomically(arguments.output / "report.md", text.encode())
    plot_reports(reports, arguments.output / "report.png")
    for matrix in matrices:
        plot_matrix(matrix, arguments.output / f"speakers-{matrix.engine}.png")
    print(text, end="")


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(run, argv)


if __name__ == "__main__":
    sys.exit(main())
