"""Utterances for a person to hear and to see: the worst ones, and spectrograms of some.

In: a report and the utterances behind it. Out: folders of WAV and PNG files with their texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evaluation.jury import Verdict
from evaluation.plots import plot_spectrogram
from evaluation.recognisers import SAMPLE_RATE_HZ
from evaluation.report import Report
from evaluation.systems import Utterance
from runtime.audio.sound import write_wav


def save_worst(folder: Path, report: Report, utterances: Sequence[Utterance], count: int) -> None:
    """Write the utterances that the first recogniser understood least, with what was heard."""
    if not report.word_error_rate:
        return  # no recogniser, nothing to tell the worst by
    judge = next(iter(report.word_error_rate))
    order = sorted(
        range(len(utterances)),
        key=lambda index: -report.verdicts[index].mistakes[judge].word_error_rate,
    )
    target = make_folder(folder / "worst" / report.name)
    for index in order[:count]:
        write_wav(target / f"{index:03d}.wav", utterances[index].audio, SAMPLE_RATE_HZ)
        text = "\n".join(describe(report.verdicts[index])) + "\n"
        (target / f"{index:03d}.txt").write_text(text, encoding="utf-8")


def save_spectrograms(
    folder: Path, report: Report, utterances: Sequence[Utterance], count: int
) -> None:
    """Draw the first `count` utterances, beside their WAVs and a page with their transcripts."""
    target = make_folder(folder / "spectrograms" / report.name)
    lines = [f"# {report.name}\n"]
    for index, (spoken, verdict) in enumerate(zip(utterances, report.verdicts, strict=True)):
        if index == count:
            break
        name = f"{index:03d}"
        write_wav(target / f"{name}.wav", spoken.audio, SAMPLE_RATE_HZ)
        plot_spectrogram(spoken.audio, "\n".join(describe(verdict)), target / f"{name}.png")
        transcripts = "\n".join(f"- {line}" for line in describe(verdict)[1:])
        lines.append(f"{index + 1}. {verdict.text}\n\n![]({name}.png)\n\n{transcripts}\n")
    (target / "README.md").write_text("\n".join(lines), encoding="utf-8")


def describe(verdict: Verdict) -> list[str]:
    """The sentence, then what each recogniser heard."""
    return [verdict.text, *(f"{name}: {text}" for name, text in verdict.heard.items())]


def make_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
