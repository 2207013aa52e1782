"""One system's figures over all sentences, and the table and files that show them.

In: `Verdict`s. Out: `Report`s, a Markdown table, JSON. Error rates are over all words; their
intervals are bootstrapped over utterances (Bisani and Ney, ICASSP 2004). It asks no judge.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.jury import Verdict
from evaluation.plausibility import has_plausible_length, repeats_itself
from evaluation.recognisers import Mistakes
from evaluation.systems import System, Utterance

RESAMPLINGS = 2000
INTERVAL_PERCENT = (2.5, 97.5)

Interval = tuple[float, float]


@dataclass(frozen=True)
class Report:
    """Rates are fractions, times are seconds, intervals hold 95 %."""

    name: str
    engine: str | None
    voice: str | None
    sentences: int
    word_error_rate: dict[str, float]
    word_error_interval: dict[str, Interval]
    agreed_word_error_rate: float | None  # of what all of several judges hear wrong
    character_error_rate: dict[str, float]
    dnsmos: dict[str, float]
    similarity: dict[str, float]
    stopped: float
    odd_lengths: int  # utterances too short or too long for their text (evaluation/plausibility.py)
    repetitions: int  # utterances in which every judge hears words twice
    words_per_second: float
    steps_per_second_of_audio: float | None
    real_time_factor: float | None
    verdicts: list[Verdict] = field(repr=False)


def summarise(
    system: System, utterances: Sequence[Utterance], verdicts: Sequence[Verdict]
) -> Report:
    """Pool the verdicts: error rates over all words, the rest as means over utterances."""
    judges = list(verdicts[0].mistakes)
    mistakes = {judge: [verdict.mistakes[judge] for verdict in verdicts] for judge in judges}
    totals = {judge: add_up(each) for judge, each in mistakes.items()}
    seconds = sum(verdict.seconds for verdict in verdicts)
    steps = [spoken.steps for spoken in utterances if spoken.steps is not None]
    busy = [s.synthesis_seconds for s in utterances if s.synthesis_seconds is not None]
    return Report(
        name=system.name,
        engine=system.engine,
        voice=system.voice,
        sentences=len(verdicts),
        word_error_rate={judge: total.word_error_rate for judge, total in totals.items()},
        word_error_interval={judge: error_interval(each) for judge, each in mistakes.items()},
        agreed_word_error_rate=agreed_rate(list(mistakes.values())),
        character_error_rate={judge: total.character_error_rate for judge, total in totals.items()},
        dnsmos=mean_of([verdict.dnsmos for verdict in verdicts]),
        similarity=mean_of([verdict.similarity for verdict in verdicts]),
        stopped=statistics.fmean(verdict.stopped for verdict in verdicts),
        odd_lengths=sum(not has_plausible_length(each.text, each.seconds) for each in verdicts),
        repetitions=sum(
            bool(each.heard)
            and all(repeats_itself(each.text, text) for text in each.heard.values())
            for each in verdicts
        ),
        words_per_second=sum(len(verdict.text.split()) for verdict in verdicts) / seconds,
        steps_per_second_of_audio=sum(steps) / seconds if steps else None,
        real_time_factor=sum(busy) / seconds if busy else None,
        verdicts=list(verdicts),
    )


def agreed_rate(by_judge: Sequence[Sequence[Mistakes]]) -> float | None:
    """Word errors that every judge hears: of each utterance the least edits. None for one judge.

    What a judge mishears or writes in another way is a mistake of the judge if the other one hears
    what was to be said.
    """
    if len(by_judge) < 2:
        return None
    least = [min(heard, key=lambda each: each.word_edits) for heard in zip(*by_judge, strict=True)]
    return add_up(least).word_error_rate


def add_up(mistakes: Sequence[Mistakes]) -> Mistakes:
    """The mistakes of all utterances together."""
    return sum(mistakes, Mistakes(0, 0, 0, 0))


def mean_of(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure over utterances that all have the same ones."""
    return {key: statistics.fmean(each[key] for each in figures) for key in figures[0]}


def error_interval(mistakes: Sequence[Mistakes]) -> Interval:
    """95 % of word error rates lie within, if other sentences had been drawn."""
    rates = resampled_rates(mistakes)
    low, high = np.percentile(rates, INTERVAL_PERCENT)
    return float(low), float(high)


def difference_interval(first: Sequence[Mistakes], other: Sequence[Mistakes]) -> Interval:
    """The same for how many more words `other` gets wrong than `first` on the same sentences."""
    rates = resampled_rates(other) - resampled_rates(first)
    low, high = np.percentile(rates, INTERVAL_PERCENT)
    return float(low), float(high)


def resampled_rates(mistakes: Sequence[Mistakes]) -> NDArray[np.float64]:
    """Word error rates [RESAMPLINGS] of as many utterances, drawn with replacement: the same draws
    for every system with as many utterances."""
    counts = np.array([(each.word_edits, each.words) for each in mistakes], np.float64)
    drawn = np.random.default_rng(0).integers(len(counts), size=(RESAMPLINGS, len(counts)))
    edits, words = counts[drawn].sum(axis=1).T
    return np.asarray(edits / words)


def format_table(reports: Sequence[Report]) -> str:
    """A Markdown table, one row per system; in brackets 95 % intervals."""
    judges = list(reports[0].word_error_rate)
    titles = [
        "system",
        *(f"WER {judge}" for judge in judges),
        *(["WER agreed"] if len(judges) > 1 else []),
        *(f"CER {judge}" for judge in judges),
        *("OVRL", "P808", "stopped", "odd lengths", "repetitions", "words/s", "steps/s", "RTF"),
    ]
    return markdown_table(titles, [_cells(report, judges) for report in reports])


def _cells(report: Report, judges: Sequence[str]) -> list[str]:
    words = [
        percent(report.word_error_rate[judge], report.word_error_interval[judge])
        for judge in judges
    ]
    return [
        report.name,
        *words,
        *(
            []
            if report.agreed_word_error_rate is None
            else [percent(report.agreed_word_error_rate)]
        ),
        *(percent(report.character_error_rate[judge]) for judge in judges),
        *(f"{report.dnsmos[scale]:.2f}" for scale in ("ovrl", "p808")),
        percent(report.stopped),
        str(report.odd_lengths),
        str(report.repetitions),
        f"{report.words_per_second:.2f}",
        optional(report.steps_per_second_of_audio, 1),
        optional(report.real_time_factor, 2),
    ]


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def percent(rate: float, interval: Interval | None = None) -> str:
    """5.0 %, or 5.0 % (3.1–7.2)."""
    text = f"{100 * rate:.1f} %"
    return text if interval is None else f"{text} ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def optional(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
