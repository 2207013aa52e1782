"""How a step's time grows with its context, and with the number of rows.

In: the subjects. Out: a picture of lines for each, with a mark at every measured point and a stroke
for the 95 % interval of its median.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from runtime.profiling.page.markup import Markup, element
from runtime.profiling.page.plots import MARKS, Plot, Scale
from runtime.profiling.page.quantities import duration, listing, tick_duration
from runtime.profiling.report import Point, Subject

HEIGHT, AXIS = 200, 20  # pixels
Across = Callable[[Point], int]


def draw_lines(subjects: Sequence[Subject]) -> list[Markup]:
    contexts = {subject.label: subject.contexts for subject in subjects}
    rows = {subject.label: subject.rows for subject in subjects}
    pictures = [
        *_picture("A step by its context, in positions", contexts, lambda point: point.context),
        *_picture("A step by its rows, for all of them", rows, lambda point: point.rows),
    ]
    missing = [
        f"{figure} of {label}"
        for figure, lines in (("contexts", contexts), ("rows", rows))
        for label, points in lines.items()
        if not points
    ]
    note = f"Not measured: {listing(missing)}."
    return [
        element("div", pictures, class_="columns") if pictures else Markup(""),
        element("p", note, class_="note") if missing else Markup(""),
    ]


def _picture(caption: str, lines: dict[str, tuple[Point, ...]], across: Across) -> list[Markup]:
    points = [point for line in lines.values() for point in line]
    if not points:
        return []
    values = sorted({across(point) for point in points})
    x = Scale(0, len(values) - 1)  # evenly spaced: contexts and rows are powers of two
    y = Scale(0, 1.1 * max(max(point.seconds.high, point.seconds.p50) for point in points))
    described = "; ".join(
        f"{label}: "
        + ", ".join(f"{across(point)}: {duration(point.seconds.p50)}" for point in line)
        for label, line in lines.items()
        if line
    )
    plot = Plot(HEIGHT + AXIS, caption, described)
    _draw_axes(plot, y, values)
    for index, (label, line) in enumerate(lines.items()):
        ordered = sorted(line, key=across)
        places = [_inset(x.place(values.index(across(point)))) for point in ordered]
        _draw_line(plot, y, list(zip(places, ordered, strict=True)), index, label)
    forms = [
        element(
            "li",
            element("span", class_=f"swatch {_colour(index)}", aria_hidden="true"),
            label,
            f": {MARKS[index % len(MARKS)]}",
        )
        for index, (label, line) in enumerate(lines.items())
        if line
    ]
    legend = element("ul", forms, class_="legend")
    return [element("figure", element("figcaption", caption), legend, plot.render())]


def _colour(index: int) -> str:
    return ("c2", "c4", "c5", "c6")[index % 4]


def _inset(x: float) -> float:
    return 0.12 + 0.8 * x


def _height(y: Scale, seconds: float) -> float:
    return HEIGHT * (1 - y.place(seconds))


def _draw_axes(plot: Plot, y: Scale, values: Sequence[int]) -> None:
    for tick in y.ticks(4):
        height = _height(y, tick)
        plot.line((0, height), (1, height), class_="grid")
        plot.text((0, height - 3), tick_duration(tick, y.most), class_="tick")
    for place, value in enumerate(values):
        x = _inset(place / max(1, len(values) - 1))
        plot.text((x, HEIGHT + 15), f"{value:,}", "middle", class_="tick")


def _draw_line(
    plot: Plot, y: Scale, places: Sequence[tuple[float, Point]], index: int, label: str
) -> None:
    colour = _colour(index)
    curve = [(x, _height(y, point.seconds.p50)) for x, point in places]
    if not curve:
        return
    for start, end in pairwise(curve):
        plot.line(start, end, class_=f"curve {colour}")
    for (x, point), place in zip(places, curve, strict=True):
        low, high = _height(y, point.seconds.low), _height(y, point.seconds.high)
        plot.line((x, low), (x, high), class_=f"curve {colour}")
        tip = f"{label}: {duration(point.seconds.p50)}"
        plot.mark(place, index, class_=f"mark {colour}", tip=tip)
