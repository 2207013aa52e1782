"""What each stage takes of a run, and how its calls are distributed in one utterance.

In: subjects. Out: a table with a bar for each stage, and histograms of stages with enough calls.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.profiling.page.colours import colour_of, swatch
from runtime.profiling.page.markup import Content, Markup, element
from runtime.profiling.page.plots import Plot, Scale
from runtime.profiling.page.quantities import (
    count,
    duration,
    milliseconds,
    round_number,
    share,
    tick_duration,
)
from runtime.profiling.page.tables import table
from runtime.profiling.report import Stage, Subject
from runtime.profiling.spans import seconds_by_stage

BINS, FEWEST_CALLS = 30, 8
HISTOGRAM = 110  # pixels, without its axis
WIDEST = 3  # times p50 of the utterance: longer calls are counted at the right edge


def draw_shares(subjects: Sequence[Subject]) -> Markup:
    return element("div", [_shares(subject) for subject in subjects], class_="columns")


def _shares(subject: Subject) -> Markup:
    rows: list[Sequence[Content]] = [
        [
            [swatch(stage.name), stage.name, element("small", stage.meaning)],
            bar(stage.share, colour_of(stage.name)),
            share(stage.share),
            milliseconds(stage.seconds.p50),
            round_number(stage.calls_per_run),
        ]
        for stage in subject.stages
    ]
    if subject.outside_stages is not None:
        outside = subject.outside_stages
        rows.append(["outside the stages", bar(outside, "soft"), share(outside), "", ""])
    columns = ["stage", "", "of a run", "p50, ms", "calls"]
    together = element(
        "p",
        "Stages run at the same time here: shares can add up to more than all of it, and what is "
        "outside them is not known.",
        class_="note",
    )
    return element(
        "div",
        table(f"Stages of {subject.label}, by their share of a run", columns, rows, "bars"),
        together if subject.outside_stages is None else None,
    )


def bar(part: float, kind: str) -> Markup:
    """A cell with a bar, as a share of the cell's width. The figure stands in the next cell."""
    plot = element(
        "svg",
        element("rect", width=f"{min(100.0, max(0.0, 100 * part)):.2f}%", height=12, class_=kind),
        width="100%",
        height=12,
        aria_hidden="true",
    )
    return Markup(f'<td class="bar">{plot}</td>')


def draw_histograms(subjects: Sequence[Subject]) -> list[Markup]:
    return [picture for subject in subjects for picture in _histograms(subject)]


def _histograms(subject: Subject) -> list[Markup]:
    calls = seconds_by_stage(subject.timeline.spans)
    stages = {stage.name: stage for stage in subject.stages}
    drawn = [
        _histogram(subject.label, name, times, stages.get(name))
        for name, times in calls.items()
        if len(times) >= FEWEST_CALLS
    ]
    few = [name for name, times in calls.items() if len(times) < FEWEST_CALLS]
    note = f"Left out, with fewer than {FEWEST_CALLS} calls: {', '.join(few)}."
    return [
        element("h3", subject.label),
        element("div", drawn, class_="columns small") if drawn else Markup(""),
        element("p", note, class_="note") if few else Markup(""),
    ]


def bin_values(values: Sequence[float], scale: Scale) -> list[int]:
    """How many are in each bin. Those beyond the scale are in the last one."""
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, max(0, int(BINS * scale.place(value))))] += 1
    return counts


def _histogram(label: str, name: str, times: Sequence[float], stage: Stage | None) -> Markup:
    ordered = sorted(times)
    widest = WIDEST * ordered[len(ordered) // 2]
    scale = Scale(0.9 * ordered[0], min(ordered[-1], widest) * 1.05)
    counts = bin_values(times, scale)
    beyond = sum(value > scale.most for value in times)
    quantiles = {"p50": stage.seconds.p50, "p95": stage.seconds.p95} if stage else {}
    described = (
        f"{count(len(times), 'call')} from {duration(ordered[0])} to {duration(ordered[-1])}"
    )
    plot = Plot(HISTOGRAM + 18, f"{name} of {label}", described)
    for place, number in enumerate(counts):
        height = (HISTOGRAM - 30) * number / max(counts)
        left, right = place / BINS, (place + 1) / BINS
        tip = f"{count(number, 'call')}"
        colour = f"call {colour_of(name)}"
        plot.rect(left, right, HISTOGRAM - height, height, class_=colour, tip=tip)
    for place, (quantile, value) in enumerate(quantiles.items()):
        _draw_quantile(plot, quantile, scale.place(value), 10 + 13 * place)
    _draw_axis(plot, scale)
    tail = f", {beyond} of them longer than this picture" if beyond else ""
    caption = element("figcaption", swatch(name), element("strong", name), f" {described}{tail}")
    return element("figure", caption, plot.render())


def _draw_quantile(plot: Plot, name: str, x: float, y: float) -> None:
    if x > 1:
        return
    plot.line((x, 2), (x, HISTOGRAM), class_="moment")
    anchor = "end" if x > 0.7 else "start"
    plot.text((x, y), f"\N{NO-BREAK SPACE}{name}\N{NO-BREAK SPACE}", anchor, class_="strong")


def _draw_axis(plot: Plot, scale: Scale) -> None:
    plot.line((0, HISTOGRAM), (1, HISTOGRAM), class_="axis")
    for tick in scale.ticks(4):
        x = scale.place(tick)
        anchor = "start" if x < 0.05 else "end" if x > 0.92 else "middle"
        plot.text((x, HISTOGRAM + 14), tick_duration(tick, scale.most), anchor, class_="tick")
