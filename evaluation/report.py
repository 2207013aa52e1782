"""One system's figures over all sentences, and the table that shows them.

In: `Verdict`s. Out: `Report`s and a Markdown table. Error rates are over all words; their
intervals are bootstrapped over sentences (Bisani and Ney, ICASSP 2004). It asks no judge.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from commands.tables import markdown_table
from evaluation.jury import Verdict
from evaluation.plausibility import has_plausible_length, repeats_itself
from evaluation.recognisers import Mistakes
from evaluation.systems import SpokenSentence, System

RESAMPLINGS = 2000
INTERVAL_PERCENT = (2.5, 97.5)

Interval = tuple[float, float]


@dataclass(frozen=True)
class Report:
    """Rates are fractions, times are seconds, intervals cover 95 %."""

    name: str
    engine: str | None
    voice: str | None
    sentences: int
    word_error_rate: dict[str, float]
    word_error_interval: dict[str, Interval]
    agreed_word_error_rate: float | None  # words that every judge hears wrong
    character_error_rate: dict[str, float]
    dnsmos: dict[str, float]
    similarity: dict[str, float]
    stopped: float
    odd_lengths: int  # sentences too short or too long for their text (plausibility.py)
    repetitions: int  # sentences in which every judge hears words twice
    words_per_second: float
    steps_per_second_of_audio: float | None
    real_time_factor: float | None
    verdicts: list[Verdict] = field(repr=False)


def summarise(
    system: System, spoken: Sequence[SpokenSentence], verdicts: Sequence[Verdict]
) -> Report:
    """Combine the verdicts: error rates over all words, other figures as means over sentences."""
    judges = list(verdicts[0].mistakes)
    mistakes = {judge: [verdict.mistakes[judge] for verdict in verdicts] for judge in judges}
    totals = {judge: add_up(each) for judge, each in mistakes.items()}
    seconds = sum(verdict.seconds for verdict in verdicts)
    steps = [each.steps for each in spoken if each.steps is not None]
    busy = [each.synthesis_seconds for each in spoken if each.synthesis_seconds is not None]
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
    """Word errors that every judge hears: the fewest edits of each sentence. None for one judge.

    If one judge hears the right words, an error that another one hears is that judge's mistake.
    """
    if len(by_judge) < 2:
        return None
    least = [min(heard, key=lambda each: each.word_edits) for heard in zip(*by_judge, strict=True)]
    return add_up(least).word_error_rate


def add_up(mistakes: Sequence[Mistakes]) -> Mistakes:
    """The mistakes of all utterances together."""
    return sum(mistakes, Mistakes(0, 0, 0, 0))


def mean_of(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure; all sentences have the same figures."""
    return {key: statistics.fmean(each[key] for each in figures) for key in figures[0]}


def error_interval(mistakes: Sequence[Mistakes]) -> Interval:
    """The interval of 95 % of the word error rates that other draws of sentences would give."""
    rates = resampled_rates(mistakes)
    low, high = np.percentile(rates, INTERVAL_PERCENT)
    return float(low), float(high)


def difference_interval(first: Sequence[Mistakes], other: Sequence[Mistakes]) -> Interval:
    """The interval of 95 % for the difference of two rates, `other` minus `first`, on the same
    sentences."""
    rates = resampled_rates(other) - resampled_rates(first)
    low, high = np.percentile(rates, INTERVAL_PERCENT)
    return float(low), float(high)


def resampled_rates(mistakes: Sequence[Mistakes]) -> NDArray[np.float64]:
    """Word error rates [RESAMPLINGS] of sentences drawn with replacement. Systems with as many
    sentences get the same draws."""
    counts = np.array([(each.word_edits, each.words) for each in mistakes], np.float64)
    drawn = np.random.default_rng(0).integers(len(counts), size=(RESAMPLINGS, len(counts)))
    edits, words = counts[drawn].sum(axis=1).T
    return np.asarray(edits / words)


def format_reports(reports: Sequence[Report]) -> str:
    """A Markdown table, one row for each system, with 95 % intervals in brackets."""
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


def percent(rate: float, interval: Interval | None = None) -> str:
    """5.0 %, or 5.0 % (3.1–7.2)."""
    text = f"{100 * rate:.1f} %"
    return text if interval is None else f"{text} ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def optional(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
