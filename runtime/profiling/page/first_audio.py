"""Where the time to first audio goes, and how much it varies.

In: the subjects. Out: a bar of parts for each, on one scale; a table of the parts; quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.profiling.page.colours import colour_of, swatch
from runtime.profiling.page.markup import Markup, element
from runtime.profiling.page.plots import Plot, Scale
from runtime.profiling.page.quantities import (
    NOT_MEASURED,
    duration,
    milliseconds,
    share,
    tick_duration,
)
from runtime.profiling.page.tables import table
from runtime.profiling.report import Subject, Summary

BAR = 26  # pixels


def draw_first_audio(subjects: Sequence[Subject]) -> list[Markup]:
    with_parts = [subject for subject in subjects if sum(subject.first_audio_parts.values()) > 0]
    if not with_parts:
        return [element("p", "The parts were not measured."), draw_quantiles(subjects)]
    longest = max(sum(subject.first_audio_parts.values()) for subject in with_parts)
    bars = [_bar(subject, longest) for subject in with_parts]
    return [*bars, _parts(with_parts), element("h3", "Its quantiles"), draw_quantiles(subjects)]


def _bar(subject: Subject, longest: float) -> Markup:
    parts = subject.first_audio_parts
    total = sum(parts.values())
    described = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items())
    plot = Plot(BAR, f"Parts of first audio: {subject.label}", described)
    left = 0.0
    for name, seconds in parts.items():
        right = left + seconds / longest
        tip = f"{name}: {duration(seconds)}, {share(seconds / total)}"
        plot.rect(left, right, 0, BAR, class_=f"call {colour_of(name)}", tip=tip)
        left = right
    caption = element("figcaption", element("strong", subject.label), f" {duration(total)}")
    return element("figure", caption, plot.render())


def _parts(subjects: Sequence[Subject]) -> Markup:
    names = dict.fromkeys(name for subject in subjects for name in subject.first_audio_parts)
    columns = [
        "part",
        *(f"{subject.label}, {unit}" for subject in subjects for unit in ("ms", "%")),
    ]
    rows = [
        [[swatch(name), name], *(cell for subject in subjects for cell in _cells(subject, name))]
        for name in names
    ]
    return table("Parts of first audio, from left to right", columns, rows)


def _cells(subject: Subject, name: str) -> tuple[str, str]:
    parts = subject.first_audio_parts
    if name not in parts:
        return NOT_MEASURED, NOT_MEASURED
    return milliseconds(parts[name]), share(parts[name] / sum(parts.values()))


def draw_quantiles(subjects: Sequence[Subject]) -> Markup:
    """A line from the least to p99, the interval of the median as a box, p95 as a tick."""
    most = max(max(subject.first_audio.p99, subject.first_audio.high) for subject in subjects)
    scale = Scale(0, 1.08 * most)
    height = 34 * len(subjects) + 18
    described = "; ".join(f"{s.label}: {_describe(s.first_audio)}" for s in subjects)
    plot = Plot(height, "Quantiles of first audio", described)
    for tick in scale.ticks():
        x = scale.place(tick)
        plot.line((x, 0), (x, height - 16), class_="grid")
        anchor = "start" if x < 0.04 else "end" if x > 0.94 else "middle"
        plot.text((x, height - 3), tick_duration(tick, scale.most), anchor, class_="tick")
    for place, subject in enumerate(subjects):
        _draw_summary(plot, scale, subject, 34 * place)
    note = "Line: least to p99. Box: 95 % interval of p50, with p50 as a line. Tick: p95."
    return element("figure", plot.render(), element("figcaption", note, class_="soft"))


def _describe(summary: Summary) -> str:
    return f"p50 {duration(summary.p50)}, p95 {duration(summary.p95)}, p99 {duration(summary.p99)}"


def _draw_summary(plot: Plot, scale: Scale, subject: Subject, top: float) -> None:
    first, middle = subject.first_audio, top + 24
    least, p50, p95, p99 = map(scale.place, (first.least, first.p50, first.p95, first.p99))
    plot.text((0, top + 12), f"{subject.label}: {_describe(first)}", class_="label")
    tip = _describe(first)
    plot.line((least, middle), (p99, middle), class_="range", tip=tip)
    plot.rect(
        scale.place(first.low), scale.place(first.high), middle - 5, 10, class_="box", tip=tip
    )
    plot.line((p50, middle - 7), (p50, middle + 7), class_="median")
    plot.line((p95, middle - 5), (p95, middle + 5), class_="range")
