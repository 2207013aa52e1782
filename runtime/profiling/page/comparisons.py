"""One subject against another: ratios with their intervals, around 1.

In: the comparisons of a report. Out: a picture on a logarithmic scale, so that twice as fast and
half as fast are equally far from 1, and the sentence of each comparison.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.profiling.page.markup import Markup, element
from runtime.profiling.page.plots import Plot, Scale
from runtime.profiling.page.quantities import round_number, significant
from runtime.profiling.report import Comparison

BAR = 44  # pixels
LEGEND = """Right of 1: the second one is faster. Left of 1: the first one is. In brackets, and as a
line: the 95 % interval. Grey: the interval has 1 in it."""


def draw_comparisons(comparisons: Sequence[Comparison]) -> list[Markup]:
    usable = [each for each in comparisons if each.low > 0 and each.ratio > 0]
    if not usable:
        return [element("p", each.sentence) for each in comparisons]
    edges = [edge for each in usable for edge in (each.low, each.high, each.ratio)]
    most = 1.25 * max(1.2, *edges, *(1 / edge for edge in edges if edge > 0))
    scale = Scale(1 / most, most, logarithmic=True)
    return [
        element("p", LEGEND),
        element("div", [_comparison(each, scale) for each in comparisons], class_="columns"),
    ]


def _comparison(each: Comparison, scale: Scale) -> Markup:
    interval = f"{significant(each.low)} to {significant(each.high)}"
    figures = f"{significant(each.ratio)} ({interval})"
    plot = Plot(BAR, f"{each.figure}: {each.baseline} / {each.other}", figures)
    if each.low > 0 and each.ratio > 0:
        _draw(plot, each, scale, figures)
    heading = element(
        "figcaption", element("strong", each.figure), f" {each.baseline} / {each.other} = {figures}"
    )
    return element("figure", heading, plot.render(), element("p", each.sentence))


def _draw(plot: Plot, each: Comparison, scale: Scale, figures: str) -> None:
    middle = 14
    for tick in scale.ticks(6):
        x = scale.place(tick)
        plot.line((x, 0), (x, BAR - 16), class_="axis" if tick == 1 else "grid")
        plot.text((x, BAR - 3), round_number(tick), "middle", class_="tick")
    left, right = sorted((scale.place(1), scale.place(each.ratio)))
    kind = "unsure" if each.low <= 1 <= each.high else "c3" if each.ratio > 1 else "c4"
    plot.rect(left, right, middle - 7, 14, class_=f"call {kind}", tip=figures)
    low, high = scale.place(each.low), scale.place(each.high)
    plot.line((low, middle), (high, middle), class_="median")
    for end in (low, high):
        plot.line((end, middle - 5), (end, middle + 5), class_="median")
    one = scale.place(1)
    plot.line((one, 0), (one, BAR - 16), class_="axis")
