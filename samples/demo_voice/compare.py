"""`python -m samples.demo_voice.compare`: a small version of the paper's table, measured again.

In: bundles that differ in the number of codes that a step makes; the others are compared with the
first, which is next-token prediction in the paper. Out: `comparison.json`, `comparison.md` and
`comparison.png`: word errors and DNSMOS on held-out sentences, decoding steps for each second of
audio, and how many times faster than the first bundle each one decodes. The command does not know
how the models were trained, so the table must be shown with a note about that.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.interruption import Interruption
from commands.options import add_count, add_limit, add_max_minutes, add_output, add_threads
from commands.run import run_command
from commands.tables import markdown_table
from evaluation.sentences import DEFAULT_SENTENCES, describe_file, read_sentences
from evaluation.speech import CACHE_FILE, RECOGNISERS, judge_system, parse_named, stop_check

if TYPE_CHECKING:
    from evaluation.jury import Jury
    from evaluation.report import Report
    from evaluation.sentences import Sentence
    from samples.demo_voice.paired_speed import Speed

JUDGE = "whisper"  # whose errors are compared between models
TIMED_SENTENCES = 10  # enough, because every round says them again

LIMITS = """\
What this does not show:

- One model of each kind, from one training run, on {sentences} sentences: the intervals (95 %) are
  over sentences, not over trainings.
- Small models of one synthetic voice, distilled from another synthesizer. The paper's have half a
  billion parameters, other data and another test: 6.07 % word errors with next-token prediction,
  3.01 % with multi-token prediction (arXiv 2506.12537).
- Speed is that of {machine}, one utterance at a time, in {pairs} pairs of the
  same sentence, in both orders. Decoding is backbone and heads, without the prompt and the codec.
- How long each model was trained, and from what, is not known to this command.
"""


def make_parser() -> CommandParser:
    parser = command_parser(
        "samples.demo_voice.compare",
        "Compare next-token with multi-token prediction: errors, steps and speed.",
    )
    add = parser.add_argument
    add("engines", nargs="+", metavar="[NAME=]DIR", help="bundles; the first is compared with")
    add(
        "--sentences",
        type=Path,
        default=DEFAULT_SENTENCES,
        metavar="FILE",
        help="one a line (default: samples/evaluation/everyday.txt of this clone)",
    )
    add_limit(parser, "sentences")
    add_count(parser, "--rounds", "rounds of timing", default=4)
    add_threads(parser, "the bundles and Whisper")
    add_output(parser, "folder for the report", default="comparison")
    add_max_minutes(parser)
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Judge and time the bundles that the arguments name."""
    engines = dict(map(parse_named, arguments.engines))
    if not 2 <= len(engines) == len(arguments.engines):
        raise UserError("give two or more bundles with different names: NAME=DIR NAME=DIR")
    interruption = Interruption(arguments.max_minutes)
    from evaluation.jury import Jury
    from evaluation.plots import plotting
    from samples.demo_voice.paired_speed import measure_speeds

    plotting()  # a missing package is reported now, not after an hour
    sentences = read_sentences(arguments.sentences, arguments.limit)
    arguments.output.mkdir(parents=True, exist_ok=True)
    jury = Jury(RECOGNISERS, cache=arguments.output / CACHE_FILE, threads=arguments.threads)
    check = stop_check(interruption, arguments)
    with interruption:
        reports = [
            judge_bundle(name, folder, sentences, jury, arguments.threads, check)
            for name, folder in engines.items()
        ]
        timed = [sentence.text for sentence in sentences[:TIMED_SENTENCES]]
        speeds = measure_speeds(engines, timed, arguments.rounds, arguments.threads, check)
    write_comparison(arguments, reports, speeds, jury.versions)


def judge_bundle(
    name: str,
    folder: Path,
    sentences: Sequence[Sentence],
    jury: Jury,
    threads: int | None,
    check: Callable[[], None],
) -> Report:
    """The report on a bundle's default voice."""
    from evaluation.systems import open_bundle

    [system] = open_bundle(name, folder, sentences, [], threads)
    return judge_system(system, jury, len(sentences), check)[0]


def write_comparison(
    arguments: argparse.Namespace,
    reports: Sequence[Report],
    speeds: Mapping[str, Speed],
    judges: Mapping[str, str],
) -> None:
    """Write the table with its limits, all figures and a plot; print the table."""
    from formats.files.atomic import write_json, write_text

    limits = LIMITS.format(
        sentences=reports[0].sentences,
        machine=describe_machine(arguments.threads),
        pairs=min(speed.pairs for speed in speeds.values()),
    )
    text = format_comparison(reports, speeds) + "\n" + limits
    content = {
        "sentences": describe_file(arguments.sentences),
        "judges": judges,
        "machine": describe_machine(arguments.threads),
        "models": [asdict(report) | {"speed": asdict(speeds[report.name])} for report in reports],
    }
    write_json(arguments.output / "comparison.json", content)
    write_text(arguments.output / "comparison.md", text)
    plot_comparison(reports, speeds, arguments.output / "comparison.png")
    print(text, end="")


def format_comparison(reports: Sequence[Report], speeds: Mapping[str, Speed]) -> str:
    """A Markdown table, one row per model."""
    titles = ["model", *(f"WER {judge}" for judge in reports[0].word_error_rate)]
    titles += [f"{JUDGE}: against {reports[0].name}", "OVRL", "stopped", "steps per s of audio"]
    titles += ["fewer steps", "decoding, ms per s of audio", "faster (quartiles)", "RTF"]
    rows = [_cells(report, reports[0], speeds[report.name]) for report in reports]
    return markdown_table(titles, rows)


def _cells(report: Report, first: Report, speed: Speed) -> list[str]:
    from evaluation.report import percent

    low, high = speed.quartiles
    return [
        report.name,
        *(
            percent(rate, report.word_error_interval[judge])
            for judge, rate in report.word_error_rate.items()
        ),
        "–" if report is first else difference(first, report),
        f"{report.dnsmos['ovrl']:.2f}",
        percent(report.stopped),
        f"{steps_per_second(report):.1f}",
        f"{steps_per_second(first) / steps_per_second(report):.1f}×",
        f"{speed.decoding_ms_per_second:.0f}",
        "–" if report is first else f"{speed.speed_up:.1f}× ({low:.1f}–{high:.1f})",
        f"{speed.real_time_factor:.2f}",
    ]


def steps_per_second(report: Report) -> float:
    """Decoding steps per second of audio."""
    assert report.steps_per_second_of_audio is not None, "a bundle counts its steps"
    return report.steps_per_second_of_audio


def difference(first: Report, other: Report) -> str:
    """Points of word error rate between two models on the same sentences, with the interval."""
    from evaluation.report import difference_interval

    mistakes = [[verdict.mistakes[JUDGE] for verdict in each.verdicts] for each in (first, other)]
    points = 100 * (other.word_error_rate[JUDGE] - first.word_error_rate[JUDGE])
    low, high = (100 * bound for bound in difference_interval(*mistakes))
    return f"{points:+.1f} points ({low:+.1f} … {high:+.1f})"


def describe_machine(threads: int | None) -> str:
    """The processor that was measured, as far as the system tells."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    used = "" if threads is None else f", --threads {threads}"
    return f"{names[0] if names else model} ({os.cpu_count()} CPUs{used})"


def plot_comparison(reports: Sequence[Report], speeds: Mapping[str, Speed], path: Path) -> None:
    """Word errors, DNSMOS, steps and speed-up of every model, side by side."""
    import numpy as np

    from evaluation.plots import plotting, save_figure

    pyplot = plotting()
    figure, (errors, quality, steps, speed) = pyplot.subplots(1, 4, figsize=(13, 3.2))
    names = [report.name for report in reports]
    rates = np.array([100 * report.word_error_rate[JUDGE] for report in reports])
    bounds = 100 * np.array([report.word_error_interval[JUDGE] for report in reports]).T
    errors.bar(names, rates, yerr=np.abs(bounds - rates), capsize=3)
    errors.set_title(f"word errors ({JUDGE}), %")
    quality.bar(names, [report.dnsmos["ovrl"] for report in reports])
    quality.set(title="DNSMOS OVRL", ylim=(1, 4))
    steps.bar(names, [steps_per_second(report) for report in reports])
    steps.set_title("decoding steps per s of audio")
    speed.bar(names, [speeds[name].speed_up for name in names])
    speed.set_title("decoding, times faster")
    save_figure(pyplot, figure, path)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
