"""The table of whole systems.

In: the figures that `benchmarks.systems.compare` keeps. Out: Markdown. Times are medians over
sentences and rounds, in brackets the slowest tenth; work is that of the processor over all
sentences, by their audio.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.systems.roster import SYSTEMS, System
from commands.tables import markdown_table

TITLES = (
    "",
    "version",
    "real-time factor",
    "processor",
    "first audio, ms",
    "load, s",
    "memory, MiB",
    "installed, MB",
    "WER",
    "DNSMOS",
)
OVERALL = "ovrl"
TENTHS = 10


def format_report(report: Mapping[str, Any]) -> str:
    """A line for each system that was measured."""
    judged = report.get("judged", {}).get("systems", {})
    measured = report["systems"]
    rows = [
        _row(system, measured[system.name], judged.get(system.name))
        for system in SYSTEMS
        if system.name in measured
    ]
    return markdown_table(TITLES, rows)


def _row(system: System, found: Mapping[str, Any], judged: Mapping[str, Any] | None) -> list[str]:
    said: list[list[float]] = found["said"]
    total, work, first, audio = map(list, zip(*said, strict=True))
    factors = [seconds / length for seconds, length in zip(total, audio, strict=True)]
    latency = [1e3 * seconds for seconds in first]
    return [
        system.name,
        found["version"],
        f"{statistics.median(factors):.3f} ({_slowest(factors):.3f})",
        f"{sum(work) / sum(audio):.3f}",
        f"{statistics.median(latency):.0f} ({_slowest(latency):.0f})"
        + (", whole" if system.whole else ""),
        f"{found['load_seconds']:.2f}",
        f"{found['memory_mib']:.0f}",
        f"{found['size_bytes'] / 1e6:.0f}",
        f"{100 * judged['word_error_rate']:.1f} %" if judged else "–",
        f"{judged['dnsmos'][OVERALL]:.2f}" if judged else "–",
    ]


def _slowest(values: Sequence[float]) -> float:
    """The value that a tenth of the values reach."""
    return statistics.quantiles(values, n=TENTHS, method="inclusive")[-1]
