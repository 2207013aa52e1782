"""What the listeners of one load heard, in figures.

In: `Heard`. Out: `Level`, and a table of several. Percentiles are of those who heard all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.serving.hearing import AUDIBLE_SECONDS, Heard, Outcome
from commands.tables import markdown_table

PERCENTILES = (50, 95, 99)
TITLES = (
    *("streams", "asked", "refused", "broken", "first audio p50, ms", "p95", "p99"),
    *("RTF p50", "p95", "gaps", "longest gap, ms", "audio s/s", "refused in p95, ms"),
)


@dataclass(frozen=True)
class Level:
    """One load. streams: offered, as listeners at a time. first_audio, real_time_factor,
    refused_in: percentiles 50, 95 and 99, in seconds; none where nobody was. gaps: listeners who
    heard one. throughput: seconds of audio a second, until the last listener had all.
    audio_seconds: that came to all. own_processor: seconds that this tool's process worked, a
    second; in process, with the engine."""

    streams: float
    asked: int
    refused: int
    broken: int
    first_audio: list[float]
    real_time_factor: list[float]
    refused_in: list[float]
    gaps: int
    longest_gap: float
    throughput: float
    audio_seconds: float
    own_processor: float
    reasons: list[str]


def summarise(
    streams: float, heard: Sequence[Heard], seconds: float, own_processor: float = 0.0
) -> Level:
    """seconds: in which listeners arrived, or until the last one had all."""
    done = [each for each in heard if each.outcome is Outcome.DONE]
    refused = [each for each in heard if each.outcome is Outcome.REFUSED]
    broken = [each for each in heard if each.outcome is Outcome.BROKEN]
    admitted = done + broken
    audio_seconds = sum(each.audio_seconds for each in heard)
    return Level(
        streams=streams,
        asked=len(heard),
        refused=len(refused),
        broken=len(broken),
        first_audio=_percentiles([e.first_audio for e in done if e.first_audio is not None]),
        real_time_factor=_percentiles([each.real_time_factor for each in done]),
        refused_in=_percentiles([each.seconds for each in refused]),
        gaps=sum(each.underrun > AUDIBLE_SECONDS for each in admitted),
        longest_gap=max((each.underrun for each in admitted), default=0.0),
        throughput=audio_seconds / seconds,
        audio_seconds=audio_seconds,
        own_processor=own_processor,
        reasons=sorted({each.reason for each in broken}),
    )


def format_levels(levels: Sequence[Level]) -> str:
    """A Markdown table."""
    return markdown_table(TITLES, [_cells(level) for level in levels])


def _cells(level: Level) -> list[str]:
    refused_in = level.refused_in[1:2]
    return [
        f"{level.streams:g}",
        *map(str, (level.asked, level.refused, level.broken)),
        *([f"{1e3 * value:.0f}" for value in level.first_audio] or ["–"] * len(PERCENTILES)),
        *([f"{value:.2f}" for value in level.real_time_factor[:2]] or ["–"] * 2),
        str(level.gaps),
        f"{1e3 * level.longest_gap:.0f}",
        f"{level.throughput:.1f}",
        f"{1e3 * refused_in[0]:.0f}" if refused_in else "–",
    ]


def _percentiles(values: Sequence[float]) -> list[float]:
    return [float(value) for value in np.percentile(values, PERCENTILES)] if values else []
