"""docs/figures/devices.svg: real-time factor and first audio of every report, and what others can
reach at best.

In: entries of reports, and the published bandwidths. Out: an SVG that is readable on light and dark
pages. Bars are measured; a line across a bar is the least that reading the weights takes. Hollow
bars are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from benchmarks.device_page.bandwidths import DEVICES
from benchmarks.device_page.collection import Entry
from benchmarks.device_page.floors import least_real_time_factor, step_bytes
from benchmarks.device_page.page import KINDS, MODELS
from benchmarks.published_size import published_config

WIDTH, ROW, LABELS, BARS = 920, 24, 330, 370  # pixels
HEAD, NOTE = 26, 18
FLOOR_HEADS = 12
STYLE = """
    .page{fill:#ffffff} .ink{fill:#1f2328} .soft{fill:#57606a} .grid{stroke:#d0d7de}
    .bar{fill:#3f51b5} .computed{fill:none;stroke:#3f51b5;stroke-dasharray:3 2}
    .least{stroke:#bc4c00;stroke-width:2} .real{stroke:#57606a;stroke-dasharray:4 3}
    @media (prefers-color-scheme: dark) {
      .page{fill:#0d1117} .ink{fill:#e6edf3} .soft{fill:#9198a1} .grid{stroke:#30363d}
      .bar{fill:#8c9eff} .computed{stroke:#8c9eff} .least{stroke:#f0883e} .real{stroke:#9198a1}
    }"""


class Bar(NamedTuple):
    """least: where the line across it stands."""

    label: str
    value: float
    text: str
    least: float | None = None


class Panel(NamedTuple):
    title: str
    bars: Sequence[Bar]
    note: str = ""
    is_computed: bool = False
    limit: float | None = None  # a dashed line through all bars


def make_panels(entries: Sequence[Entry]) -> list[Panel]:
    """What is drawn, from top to bottom. Panels without bars are left out."""
    panels = [
        Panel(
            "Measured: seconds of computing for one second of speech",
            [_factor_bar(entry) for entry in entries],
            "line: the least that the machine allows for the steps, by its measured limits",
            limit=1.0,
        ),
        Panel("Measured: time until the first audio", [_first_bar(entry) for entry in entries]),
        Panel(
            "Computed, not measured: the least seconds of steps for one second of speech",
            [_floor_bar(device.name, device.bytes_per_second) for device in DEVICES],
            f"published size, {FLOOR_HEADS} heads; bar: int8, line: int4; "
            "published bandwidth; the codec comes on top",
            is_computed=True,
        ),
    ]
    return [panel for panel in panels if panel.bars]


def draw(panels: Sequence[Panel]) -> str:
    """The SVG."""
    height = 12 + sum(_panel_height(panel) for panel in panels)
    title = "Speech on devices: shorter bars are faster"
    top, body = 12, list[str]()
    for panel in panels:
        body += _draw_panel(panel, top)
        top += _panel_height(panel)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="system-ui, sans-serif" font-size="13" role="img">',
            f"  <title>{title}</title>",
            f"  <style>{STYLE}\n  </style>",
            f'  <rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
            *body,
            "</svg>\n",
        ]
    )


def _factor_bar(entry: Entry) -> Bar:
    factor, least = entry.subject.real_time_factor.p50, entry.least_real_time_factor
    text = f"{factor:.3f}" + ("" if least is None else f" (steps at least {least:.2g})")
    return Bar(_label(entry), factor, text, least)


def _first_bar(entry: Entry) -> Bar:
    first = entry.subject.first_audio.p50
    return Bar(_label(entry), first, f"{1e3 * first:.0f} ms")


def _floor_bar(name: str, bytes_per_second: float) -> Bar:
    config = published_config(FLOOR_HEADS)
    int8, int4 = (
        least_real_time_factor(step_bytes(config, form) / bytes_per_second, config)
        for form in ("int8", "int4")
    )
    return Bar(name, int8, f"int8 {int8:.2g}, int4 {int4:.2g}", int4)


def _label(entry: Entry) -> str:
    subject = entry.subject
    engine = KINDS.get(subject.kind, subject.kind)
    model = MODELS[entry.model].split()[0]
    threads = f"{subject.threads} thr."
    return f"{entry.device}, {threads}, {engine}: {model} {subject.heads}, {subject.precision}"


def _panel_height(panel: Panel) -> int:
    return HEAD + (NOTE if panel.note else 0) + ROW * (len(panel.bars) + 1)


def _draw_panel(panel: Panel, top: int) -> Iterator[str]:
    title = escape(panel.title)
    yield f'  <text class="ink" x="20" y="{top + 18}" font-weight="600">{title}</text>'
    top += HEAD
    if panel.note:
        note = escape(panel.note)
        yield f'  <text class="soft" x="20" y="{top + 10}" font-size="12">{note}</text>'
        top += NOTE
    bottom = top + ROW * len(panel.bars)
    largest = max(bar.value for bar in panel.bars)
    yield f'  <path class="grid" d="M{LABELS} {top}V{bottom}"/>'
    for index, bar in enumerate(panel.bars):
        yield from _draw_bar(bar, top + ROW * index, largest, panel.is_computed)
    if panel.limit is not None and panel.limit <= largest:
        x = LABELS + round(BARS * panel.limit / largest)
        yield f'  <path class="real" d="M{x} {top}V{bottom}"/>'
        yield f'  <text class="soft" x="{x}" y="{top - 2}" font-size="11">real time</text>'


def _draw_bar(bar: Bar, y: int, largest: float, is_computed: bool) -> Iterator[str]:
    width = max(2, round(BARS * bar.value / largest))
    kind = "computed" if is_computed else "bar"
    yield (
        f'  <text class="ink" x="{LABELS - 8}" y="{y + 16}" text-anchor="end">'
        f"{escape(bar.label)}</text>"
    )
    yield f'  <rect class="{kind}" x="{LABELS}" y="{y + 5}" width="{width}" height="14" rx="2"/>'
    if bar.least is not None and bar.least <= largest:
        x = LABELS + round(BARS * bar.least / largest)
        yield f'  <path class="least" d="M{x} {y + 3}v18"/>'
    place = f'class="ink" x="{LABELS + width + 8}" y="{y + 16}"'
    yield f"  <text {place}>{escape(bar.text)}</text>"
