"""Spoken sentences for a person to hear and to see: the worst ones, and spectrograms of some.

In: a report and the sentences that it judges. Out: folders of WAV and PNG files with their texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evaluation.jury import Verdict
from evaluation.plots import plot_spectrogram
from evaluation.recognisers import SAMPLE_RATE_HZ
from evaluation.report import Report
from evaluation.systems import SpokenSentence
from formats.files.atomic import write_text
from runtime.audio.sound import write_wav


def save_worst(folder: Path, report: Report, spoken: Sequence[SpokenSentence], count: int) -> None:
    """Write the sentences that the first recogniser understood least, with what it heard."""
    if not report.word_error_rate:
        return  # without a recogniser there is no worst
    judge = next(iter(report.word_error_rate))
    order = sorted(
        range(len(spoken)),
        key=lambda index: -report.verdicts[index].mistakes[judge].word_error_rate,
    )
    target = make_folder(folder / "worst" / report.name)
    for index in order[:count]:
        write_wav(target / f"{index:03d}.wav", spoken[index].audio, SAMPLE_RATE_HZ)
        text = "\n".join(describe(report.verdicts[index])) + "\n"
        write_text(target / f"{index:03d}.txt", text)


def save_spectrograms(
    folder: Path, report: Report, spoken: Sequence[SpokenSentence], count: int
) -> None:
    """Draw the first `count` sentences, and write their WAVs and a page with transcripts."""
    target = make_folder(folder / "spectrograms" / report.name)
    lines = [f"# {report.name}\n"]
    for index, (sentence, verdict) in enumerate(zip(spoken, report.verdicts, strict=True)):
        if index == count:
            break
        name = f"{index:03d}"
        write_wav(target / f"{name}.wav", sentence.audio, SAMPLE_RATE_HZ)
        plot_spectrogram(sentence.audio, "\n".join(describe(verdict)), target / f"{name}.png")
        transcripts = "\n".join(f"- {line}" for line in describe(verdict)[1:])
        lines.append(f"{index + 1}. {verdict.text}\n\n![]({name}.png)\n\n{transcripts}\n")
    write_text(target / "README.md", "\n".join(lines))


def describe(verdict: Verdict) -> list[str]:
    """The sentence, then what each recogniser heard."""
    return [verdict.text, *(f"{name}: {text}" for name, text in verdict.heard.items())]


def make_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
