"""A plot of loads: first audio and throughput over the streams that were offered.

In: `Level`s. Out: an SVG that is readable on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from benchmarks.serving.figures import PERCENTILES, Level

WIDTH, HEIGHT = 760, 300  # pixels, of a panel
LEFT, RIGHT, TOP, BOTTOM = 60, 70, 50, 40
STYLE = """
    .page{fill:#ffffff} .ink{fill:#1f2328} .soft{fill:#57606a} .grid{stroke:#d0d7de}
    .a{stroke:#3f51b5;fill:none;stroke-width:2} .b{stroke:#bc4c00;fill:none;stroke-width:2}
    .c{stroke:#57606a;fill:none;stroke-width:2;stroke-dasharray:5 3}
    @media (prefers-color-scheme: dark) {
      .page{fill:#0d1117} .ink{fill:#e6edf3} .soft{fill:#9198a1} .grid{stroke:#30363d}
      .a{stroke:#8c9eff} .b{stroke:#f0883e} .c{stroke:#9198a1}
    }"""


class Line(NamedTuple):
    """points: (streams, value)."""

    label: str
    kind: str  # a class of the style
    points: list[tuple[float, float]]


def draw_levels(name: str, levels: Sequence[Level]) -> str:
    """Two panels, one above the other."""
    first = [
        Line(f"p{percent}", kind, [(lv.streams, 1e3 * lv.first_audio[i]) for lv in heard])
        for i, (percent, kind) in enumerate(zip(PERCENTILES, "abc", strict=True))
        if (heard := [level for level in levels if level.first_audio])
    ]
    rates = [
        Line("offered", "c", [(level.streams, level.streams) for level in levels]),
        Line("spoken", "a", [(level.streams, level.throughput) for level in levels]),
    ]
    panels = _panel("First audio, ms", first) + _panel(
        "Seconds of audio a second", rates, HEIGHT + TOP
    )
    height = 2 * (HEIGHT + TOP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" role="img">'
        f"<title>{escape(name)}</title><style>{STYLE}</style>"
        f'<rect class="page" width="{WIDTH}" height="{height}"/>{panels}</svg>\n'
    )


def _panel(title: str, lines: Sequence[Line], offset: int = 0) -> str:
    points = [point for line in lines for point in line.points]
    if not points:
        return _text(LEFT, offset + TOP - 16, f"{title}: nothing was heard", "ink")
    right, top = (_round_up(max(values)) for values in zip(*points, strict=True))

    def place(streams: float, value: float) -> tuple[float, float]:
        across = (WIDTH - LEFT - RIGHT) * streams / right
        up = (HEIGHT - BOTTOM) * value / top
        return LEFT + across, offset + TOP + HEIGHT - BOTTOM - up

    drawn = [_text(LEFT, offset + TOP - 16, title, "ink"), *_grid(place, right, top)]
    for line in lines:
        places = [place(*point) for point in sorted(line.points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline class="{line.kind}" points="{path}"/>')
        drawn.append(_text(places[-1][0] + 6, places[-1][1] + 4, line.label, "soft"))
    return "".join(drawn)


def _grid(
    place: Callable[[float, float], tuple[float, float]], right: float, top: float
) -> list[str]:
    drawn = []
    for quarter in range(5):
        x, low = place(right * quarter / 4, 0)
        left, y = place(0, top * quarter / 4)
        drawn += [
            f'<path class="grid" d="M{left:.1f} {y:.1f}H{WIDTH - RIGHT}"/>',
            _text(left - 6, y + 4, f"{top * quarter / 4:g}", "soft", "end"),
            _text(x, low + 18, f"{right * quarter / 4:g}", "soft", "middle"),
        ]
    return [*drawn, _text(WIDTH - RIGHT, place(0, 0)[1] + 34, "streams offered", "soft", "end")]


def _round_up(value: float) -> float:
    """To 1, 2, 4 or 8 times a power of ten, so that quarters are short numbers."""
    size = 1e-3
    while True:
        for factor in (1, 2, 4, 8):
            if value <= size * factor:
                return size * factor
        size *= 10


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'
