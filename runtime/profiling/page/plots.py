"""Pictures in SVG that are as wide as the page allows, with text that stays readable.

In: shapes, horizontally as shares of the width (0 to 1), vertically in pixels. Out: SVG. Its width
is 100 %, and x is written in percent, so that nothing is scaled: letters and lines keep their size
on a phone and on a wide screen. Only curves, which SVG cannot have in percent, are stretched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtime.profiling.page.markup import Attribute, Markup, element, number

CURVE_UNITS = 1000  # across the width of a stretched curve
MARKS = ("circles", "squares", "diamonds", "triangles")  # by the index of `Plot.mark`
Point = tuple[float, float]  # a share of the width, pixels


class Plot:
    """A picture that grows. Later shapes cover earlier ones."""

    def __init__(self, height: float, title: str, description: str) -> None:
        self._height = height
        self._shapes = [element("title", title), element("desc", description)]

    def rect(self, left: float, right: float, top: float, height: float, **more: Attribute) -> None:
        """What is beyond the edges is cut off. `tip`: shown when the pointer rests on the shape."""
        left, right = max(0.0, left), min(1.0, right)
        if left <= 1 and right >= 0:
            width = _percent(max(0.0, right - left))
            self._add("rect", x=_percent(left), y=top, width=width, height=height, **more)

    def line(self, start: Point, end: Point, **more: Attribute) -> None:
        if min(start[0], end[0]) <= 1 and max(start[0], end[0]) >= 0:
            x1, x2 = _percent(start[0]), _percent(end[0])
            self._add("line", x1=x1, y1=start[1], x2=x2, y2=end[1], **more)

    def mark(self, place: Point, index: int = 0, **more: Attribute) -> None:
        """A marker; each index of MARKS has a form of its own."""
        x, y = place
        turned = element(
            "path", d=("M-5-5H5V5H-5Z", "M0-6.5L6.5 0L0 6.5L-6.5 0Z", "M0-6L6 5H-6Z")[index % 4 - 1]
        )
        if index % 4 == 0:
            self._add("circle", cx=_percent(x), cy=y, r=6, **more)
        else:
            # A group cannot be placed in percent; an inner svg can.
            self._add("svg", turned, x=_percent(x), y=y, overflow="visible", **more)

    def text(self, place: Point, text: str, anchor: str = "start", **more: Attribute) -> None:
        self._add("text", text, x=_percent(place[0]), y=place[1], text_anchor=anchor, **more)

    def curve(self, points: Sequence[Point], closed: bool = False, **more: Attribute) -> None:
        """A line through the points, or the area within them."""
        places = " ".join(f"{number(CURVE_UNITS * x)},{number(y)}" for x, y in points)
        shape = element(
            "polygon" if closed else "polyline",
            points=places,
            vector_effect="non-scaling-stroke",
            **more,
        )
        box = f"0 0 {CURVE_UNITS} {number(self._height)}"
        self._add(
            "svg",
            shape,
            viewBox=box,
            preserveAspectRatio="none",
            width="100%",
            height=self._height,
        )

    def render(self) -> Markup:
        return element(
            "svg",
            self._shapes,
            class_="plot",
            role="img",
            width="100%",
            height=self._height,
        )

    def _add(
        self, name: str, *content: str, tip: Attribute = None, **attributes: Attribute
    ) -> None:
        title = element("title", tip) if isinstance(tip, str) else None
        self._shapes.append(
            element(name, title, *content, **attributes)
            if title or content
            else element(name, **attributes)
        )


class Scale:
    """Values to shares of a length, from least (0) to most (1)."""

    def __init__(self, least: float, most: float, logarithmic: bool = False) -> None:
        self._logarithmic = logarithmic
        self.least, self.most = least, most if most > least else least + (abs(least) or 1.0)

    def place(self, value: float) -> float:
        if self._logarithmic:
            least, most = math.log(self.least), math.log(self.most)
            return (math.log(value) - least) / (most - least)
        return (value - self.least) / (self.most - self.least)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values within the scale."""
        if self._logarithmic:
            return _logarithmic_ticks(self.least, self.most, about)
        step = _round_step((self.most - self.least) / about)
        first, last = math.ceil(self.least / step - 1e-9), math.floor(self.most / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least as large."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _logarithmic_ticks(least: float, most: float, about: int) -> list[float]:
    """Powers of ten, or fewer of them; 2 and 5 between where there is room."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    decades = math.log10(most) - math.log10(least)
    factors = (
        (1, 2, 5) if 3 * decades <= about + 1 else (1, 3) if 2 * decades <= about + 1 else (1,)
    )
    spacing = max(1, math.ceil(decades / about))
    values = [
        factor * 10.0**power for power in range(first, last + 1, spacing) for factor in factors
    ]
    return [value for value in values if least * 0.999 <= value <= most * 1.001]


def _percent(x: float) -> str:
    return f"{number(100 * x)}%"
