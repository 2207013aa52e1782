"""How near the stages come to what the machine can do.

In: subjects, and limits of the machine. Out: a roofline for each number of threads (Williams,
Waterman and Patterson, 2009): a stage that does few products for each byte it reads is bounded by
memory, below the slope; one that does many is bounded by products, below a flat roof.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.profiling.page.colours import colour_of, swatch
from runtime.profiling.page.markup import Content, Markup, element
from runtime.profiling.page.plots import MARKS, Plot, Scale
from runtime.profiling.page.quantities import (
    amount,
    count,
    duration,
    listing,
    round_number,
    share,
    significant,
)
from runtime.profiling.page.stages import bar
from runtime.profiling.page.tables import table
from runtime.profiling.report import Limits, Report, Stage, Subject

HEIGHT, AXIS = 300, 20  # pixels


@dataclass(frozen=True)
class Place:
    """A stage in the picture. intensity: MACs a byte; rate: MACs a second, both at p50."""

    name: str
    subject: str
    index: int  # of the subject, for the form of its mark
    intensity: float
    rate: float


def draw_roofline(report: Report) -> list[Markup]:
    pictures = [_draw_for(limits, report.subjects) for limits in report.limits]
    drawn = [picture for picture in pictures if picture]
    if not drawn:
        text = (
            "No roofline: limits of the machine, or bytes and products of the stages, are missing."
        )
        return [element("p", text), *_left_out(report)]
    return [*drawn, *_left_out(report), _shares(report.subjects)]


def _has_costs(stage: Stage) -> bool:
    return bool(stage.macs and stage.read_bytes) and stage.seconds.p50 > 0


def find_places(limits: Limits, subjects: Sequence[Subject]) -> list[Place]:
    """The stages that have costs, of subjects with as many threads as the limits."""
    return [
        Place(
            name=stage.name,
            subject=subject.label,
            index=index,
            intensity=stage.macs / stage.read_bytes,
            rate=stage.macs / stage.seconds.p50,
        )
        for index, subject in enumerate(subjects)
        if subject.threads == limits.threads
        for stage in subject.stages
        if stage.macs and stage.read_bytes and stage.seconds.p50 > 0
    ]


def _left_out(report: Report) -> list[Markup]:
    """Says which stages are in no picture, and why."""
    measured = {limits.threads for limits in report.limits if _roofs(limits)}
    costs = [
        f"{stage.name} of {subject.label}"
        for subject in report.subjects
        for stage in subject.stages
        if not _has_costs(stage)
    ]
    threads = [s.label for s in report.subjects if s.threads not in measured]
    notes = []
    if costs:
        notes.append(f"Left out, because bytes or products are not known: {listing(costs)}.")
    if threads:
        notes.append(f"Left out, because the limits were not measured: {listing(threads)}.")
    return [element("p", note, class_="note") for note in notes]


def _roofs(limits: Limits) -> dict[str, float]:
    """Number formats and their MACs a second; empty without the bandwidth."""
    rates = {
        "fp32": limits.fp32_macs_per_second,
        "bf16": limits.bf16_macs_per_second,
        "int8": limits.int8_macs_per_second,
    }
    known = {name: rate for name, rate in rates.items() if rate}
    return known if limits.read_bytes_per_second else {}


def _draw_for(limits: Limits, subjects: Sequence[Subject]) -> Markup | None:
    places, roofs, bandwidth = (
        find_places(limits, subjects),
        _roofs(limits),
        limits.read_bytes_per_second,
    )
    if not places or not roofs or not bandwidth:
        return None
    ridges = [rate / bandwidth for rate in roofs.values()]
    across = [place.intensity for place in places] + ridges
    up = [place.rate for place in places] + list(roofs.values())
    x = Scale(min(across) / 3, max(across) * 4, logarithmic=True)
    y = Scale(min(*up, bandwidth * x.least) / 1.5, max(up) * 2.5, logarithmic=True)
    threads = count(limits.threads, "thread")
    described = "; ".join(f"{p.name} of {p.subject}: {_text(p)}" for p in places)
    plot = Plot(HEIGHT + AXIS, f"Roofline, {threads}", described)
    _draw_axes(plot, x, y)
    _draw_roofs(plot, x, y, roofs, bandwidth)
    _draw_places(plot, x, y, places)
    caption = (
        f"{threads}, limits measured by {limits.measured_by}. Up: MACs a second. "
        "Right: MACs for each byte read. Both are logarithmic."
    )
    labels = dict.fromkeys((place.subject, place.index) for place in places)
    forms = ", ".join(f"{label}: {MARKS[index % len(MARKS)]}" for label, index in labels)
    return element("figure", element("figcaption", f"{caption} Marks of {forms}."), plot.render())


def _text(place: Place) -> str:
    return f"{amount(place.rate, 'MAC/s')} at {significant(place.intensity)} MACs a byte"


def _height(y: Scale, value: float) -> float:
    return HEIGHT * (1 - y.place(value))


def _draw_axes(plot: Plot, x: Scale, y: Scale) -> None:
    for tick in y.ticks(5):
        height = _height(y, tick)
        plot.line((0, height), (1, height), class_="grid")
        plot.text((0, height - 3), _tick(tick), class_="tick")
    for tick in x.ticks(4):
        place = x.place(tick)
        plot.line((place, 0), (place, HEIGHT), class_="grid")
        anchor = "start" if place < 0.05 else "end" if place > 0.92 else "middle"
        plot.text((place, HEIGHT + 15), round_number(tick), anchor, class_="tick")
    plot.line((0, HEIGHT), (1, HEIGHT), class_="axis")


def _tick(rate: float) -> str:
    text, unit = amount(rate, "MAC/s").split(" ")
    return f"{round_number(float(text.replace(',', '')))} {unit}"


def _draw_roofs(plot: Plot, x: Scale, y: Scale, roofs: dict[str, float], bandwidth: float) -> None:
    highest = max(roofs.values()) / bandwidth
    start = (0.0, _height(y, bandwidth * x.least))
    plot.line(start, (x.place(highest), _height(y, bandwidth * highest)), class_="roof")
    middle = math.sqrt(x.least) * math.sqrt(highest)
    plot.text(
        (x.place(middle), _height(y, bandwidth * middle) - 8),
        f"memory: {amount(bandwidth, 'B/s')}\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}",
        "end",
        class_="strong",
    )
    for name, rate in roofs.items():
        height = _height(y, rate)
        plot.line((x.place(rate / bandwidth), height), (1, height), class_="roof")
        plot.text((1, height - 6), f"{name}: {amount(rate, 'MAC/s')}", "end", class_="strong")


def _draw_places(plot: Plot, x: Scale, y: Scale, places: Sequence[Place]) -> None:
    """Marks that are near each other share a label, because two would cover each other."""
    labels: dict[tuple[float, float], list[str]] = {}
    for place in places:
        across, height = x.place(place.intensity), _height(y, place.rate)
        tip = f"{place.name} of {place.subject}: {_text(place)}"
        plot.mark((across, height), place.index, class_=f"mark {colour_of(place.name)}", tip=tip)
        near = (at for at in labels if abs(at[0] - across) < 0.06 and abs(at[1] - height) < 14)
        labels.setdefault(next(near, (across, height)), []).append(place.name)
    for (across, height), names in labels.items():
        end = across > 0.7
        space, text = "\N{NO-BREAK SPACE}" * 3, ", ".join(dict.fromkeys(names))
        label = f"{text}{space}" if end else f"{space}{text}"
        anchor = "end" if end else "start"
        plot.text((across, height + 4), label, anchor, class_="label ink")


def _shares(subjects: Sequence[Subject]) -> Markup:
    rows: list[Sequence[Content]] = [
        [
            [swatch(stage.name), f"{stage.name} of {subject.label}"],
            bar(stage.limit / stage.seconds.p50, colour_of(stage.name)),
            share(stage.limit / stage.seconds.p50),
            duration(stage.limit),
            duration(stage.seconds.p50),
            stage.limited_by or "",
            stage.number_format or "",
        ]
        for subject in subjects
        for stage in subject.stages
        if stage.limit is not None and stage.seconds.p50 > 0
    ]
    columns = ["stage", "", "of the limit", "least possible", "p50", "limited by", "in"]
    return table("How near each stage is to its limit", columns, rows, "bars")
