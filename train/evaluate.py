"""`python -m train.evaluate`: judge what a bundle, or a folder of recordings, says.

In: bundles and wav folders, and a list of sentences. Out, in one folder: `report.json`,
`report.md`, `report.png`, and the worst utterances of each system as wavs. Judges are two
recognisers (`train.recognisers`) and DNSMOS (`train.quality`); none of them has heard the
training data. It knows bundles only through `runtime.TTS`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from runtime.errors import UserError, run_cli

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_SENTENCES = Path("samples/evaluation/everyday.txt")
CODES_PER_FRAME = 3


@dataclass(frozen=True)
class Utterance:
    """One sentence as one system said it."""

    text: str
    audio: NDArray[np.float32]  # (samples,) at 16 kHz
    stopped: bool = True  # ended by itself, not by the bound on its length
    steps: int | None = None  # None for recordings
    synthesis_seconds: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What the judges made of one utterance."""

    text: str
    seconds: float
    stopped: bool
    heard: dict[str, str]  # recogniser -> text
    word_error_rate: dict[str, float]
    dnsmos: dict[str, float]


@dataclass(frozen=True)
class Report:
    """One system's figures over all sentences. Rates are fractions; times are seconds."""

    name: str
    sentences: int
    word_error_rate: dict[str, float]
    character_error_rate: dict[str, float]
    dnsmos: dict[str, float]
    stopped: float
    words_per_second: float
    steps_per_second_of_audio: float | None
    real_time_factor: float | None
    verdicts: list[Verdict] = field(repr=False)


def read_sentences(path: Path, limit: int | None = None) -> list[str]:
    """Non-empty lines that do not start with `#`."""
    if not path.is_file():
        raise UserError(f"{path}: no such file of sentences, one per line")
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    sentences = [line for line in lines if line and not line.startswith("#")]
    if not sentences:
        raise UserError(f"{path}: holds no sentences")
    return sentences[:limit]


def speak(engine: Path, sentences: Sequence[str], voice: str | None) -> Iterator[Utterance]:
    """Each sentence from a bundle, at its default sampling; the n-th with seed n."""
    from runtime import TTS, Sampling

    tts = TTS.load(engine)
    heads = tts.bundle.manifest.language_model.heads
    for seed, text in enumerate(sentences):
        start = time.perf_counter()
        spoken = tts.synthesize(text, voice=voice, sampling=Sampling(seed=seed))
        seconds = time.perf_counter() - start
        steps = -(-CODES_PER_FRAME * len(spoken.frames) // heads)
        yield Utterance(text, spoken.audio, spoken.finished, steps, seconds)


def read_recordings(folder: Path, sentences: Sequence[str]) -> Iterator[Utterance]:
    """Recordings of the sentences, in the order of their names."""
    from runtime.audio import read_recording

    files = sorted([*folder.glob("*.wav"), *folder.glob("*.flac")])
    if len(files) < len(sentences):
        raise UserError(f"{folder}: {len(files)} recordings for {len(sentences)} sentences")
    for text, file in zip(sentences, files, strict=False):
        yield Utterance(text, read_recording(file))


class Jury:
    """All judges, loaded once."""

    def __init__(self, recognisers: Sequence[str]) -> None:
        from train.recognisers import RECOGNISERS

        self._recognisers = [RECOGNISERS[name]() for name in recognisers]

    def judge(self, utterance: Utterance) -> Verdict:
        from train.quality import score_dnsmos
        from train.recognisers import SAMPLE_RATE_HZ, error_rates

        heard = {judge.name: judge.transcribe(utterance.audio) for judge in self._recognisers}
        wrong = {name: error_rates([utterance.text], [text])[0] for name, text in heard.items()}
        seconds = len(utterance.audio) / SAMPLE_RATE_HZ
        scores = score_dnsmos(utterance.audio)
        return Verdict(utterance.text, seconds, utterance.stopped, heard, wrong, scores)


def summarise(name: str, utterances: list[Utterance], verdicts: list[Verdict]) -> Report:
    """Pool the verdicts: error rates over all words, the rest as means over utterances."""
    from train.recognisers import error_rates

    texts = [verdict.text for verdict in verdicts]
    rates = {
        judge: error_rates(texts, [verdict.heard[judge] for verdict in verdicts])
        for judge in verdicts[0].heard
    }
    seconds = sum(verdict.seconds for verdict in verdicts)
    steps = [spoken.steps for spoken in utterances if spoken.steps is not None]
    busy = [s.synthesis_seconds for s in utterances if s.synthesis_seconds is not None]
    return Report(
        name=name,
        sentences=len(verdicts),
        word_error_rate={judge: rate[0] for judge, rate in rates.items()},
        character_error_rate={judge: rate[1] for judge, rate in rates.items()},
        dnsmos={
            key: statistics.fmean(verdict.dnsmos[key] for verdict in verdicts)
            for key in verdicts[0].dnsmos
        },
        stopped=statistics.fmean(verdict.stopped for verdict in verdicts),
        words_per_second=sum(len(text.split()) for text in texts) / seconds,
        steps_per_second_of_audio=sum(steps) / seconds if steps else None,
        real_time_factor=sum(busy) / seconds if busy else None,
        verdicts=verdicts,
    )


def format_table(reports: Sequence[Report]) -> str:
    """A Markdown table, one row per system."""
    judges = list(reports[0].word_error_rate)
    titles = [
        "system",
        *(f"WER {judge}" for judge in judges),
        *(f"CER {judge}" for judge in judges),
    ]
    titles += ["OVRL", "stopped", "words/s", "steps/s", "RTF"]
    rows = [titles, ["---"] * len(titles)]
    for report in reports:
        rates = [report.word_error_rate[judge] for judge in judges]
        rates += [report.character_error_rate[judge] for judge in judges]
        cells = [report.name, *(f"{rate:.1%}" for rate in rates), f"{report.dnsmos['ovrl']:.2f}"]
        cells += [f"{report.stopped:.1%}", f"{report.words_per_second:.2f}"]
        cells += [
            _optional(report.steps_per_second_of_audio, 1),
            _optional(report.real_time_factor, 2),
        ]
        rows.append(cells)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _optional(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def save_worst(folder: Path, report: Report, utterances: list[Utterance], count: int) -> None:
    """Write the utterances that the first recogniser understood least, with what it heard."""
    from runtime.audio import write_wav

    judge = next(iter(report.word_error_rate))
    order = sorted(
        range(len(utterances)), key=lambda index: -report.verdicts[index].word_error_rate[judge]
    )
    target = folder / "worst" / report.name
    target.mkdir(parents=True, exist_ok=True)
    for index in order[:count]:
        verdict = report.verdicts[index]
        write_wav(target / f"{index:03d}.wav", utterances[index].audio)
        lines = [verdict.text, *(f"{name}: {text}" for name, text in verdict.heard.items())]
        (target / f"{index:03d}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def plot_reports(reports: Sequence[Report], path: Path) -> None:
    """Word error rates and DNSMOS of all systems side by side."""
    pyplot = _plotting()
    figure, (errors, quality) = pyplot.subplots(1, 2, figsize=(10, 1.2 + 0.5 * len(reports)))
    names = [report.name for report in reports]
    judges = list(reports[0].word_error_rate)
    height = 0.8 / len(judges)
    for row, judge in enumerate(judges):
        offsets = [index + row * height for index in range(len(reports))]
        rates = [100 * report.word_error_rate[judge] for report in reports]
        errors.barh(offsets, rates, height=height, label=judge)
    errors.set(xlabel="word error rate, %", yticks=range(len(reports)), yticklabels=names)
    errors.legend()
    quality.barh(names, [report.dnsmos["ovrl"] for report in reports])
    quality.set(xlabel="DNSMOS OVRL", xlim=(1, 4))
    for axes in (errors, quality):
        axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _plotting() -> ModuleType:
    try:
        import matplotlib
    except ImportError:
        raise UserError("matplotlib is not installed; pip install 'slm-deploy[evaluate]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def evaluate(
    name: str, utterances: Iterator[Utterance], jury: Jury, total: int
) -> tuple[Report, list[Utterance]]:
    """Judge every utterance of one system, with progress on stderr."""
    spoken, verdicts = [], []
    for utterance in utterances:
        spoken.append(utterance)
        verdicts.append(jury.judge(utterance))
        print(f"\r{name}: {len(verdicts)}/{total}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return summarise(name, spoken, verdicts), spoken


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__)
    parser.add_argument(
        "--engine", action="append", default=[], metavar="[NAME=]DIR", help="a bundle; repeatable"
    )
    parser.add_argument(
        "--wavs",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="recordings of the same sentences, sorted by name; repeatable",
    )
    parser.add_argument("--sentences", type=Path, default=DEFAULT_SENTENCES, metavar="FILE")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N sentences")
    parser.add_argument("--voice", help="a voice of the bundles")
    parser.add_argument("--output", type=Path, default=Path("evaluation"), metavar="DIR")
    parser.add_argument("--worst", type=int, default=5, metavar="N", help="utterances to keep")
    parser.add_argument(
        "--recogniser",
        action="append",
        choices=["whisper", "pocketsphinx"],
        help="default: both",
    )
    return parser


def _named(argument: str) -> tuple[str, Path]:
    name, mark, folder = argument.rpartition("=")
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"{path}: no such directory")
    return (name if mark else path.name), path


def run(argv: Sequence[str] | None) -> None:
    """Evaluate every system that the arguments name."""
    arguments = build_parser().parse_args(argv)
    systems = [(*_named(given), True) for given in arguments.engine]
    systems += [(*_named(given), False) for given in arguments.wavs]
    if not systems:
        raise UserError("nothing to evaluate; give --engine DIR or --wavs DIR")
    sentences = read_sentences(arguments.sentences, arguments.limit)
    _plotting()  # what is missing should be missed now, not after an hour
    jury = Jury(arguments.recogniser or ["whisper", "pocketsphinx"])
    arguments.output.mkdir(parents=True, exist_ok=True)
    reports = []
    for name, folder, is_engine in systems:
        source = (
            speak(folder, sentences, arguments.voice)
            if is_engine
            else read_recordings(folder, sentences)
        )
        report, spoken = evaluate(name, source, jury, len(sentences))
        save_worst(arguments.output, report, spoken, arguments.worst)
        reports.append(report)
    _write(arguments.output, reports)


def _write(folder: Path, reports: Sequence[Report]) -> None:
    table = format_table(reports)
    content = json.dumps([asdict(report) for report in reports], indent=2, ensure_ascii=False)
    for file, text in (("report.json", content), ("report.md", table)):
        scratch = folder / f".{file}"
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, folder / file)
    plot_reports(reports, folder / "report.png")
    print(table, end="")


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(run, argv)


if __name__ == "__main__":
    sys.exit(main())
