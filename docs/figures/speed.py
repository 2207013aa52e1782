"""Draw speed.svg: what is fast and what is not, from the tables of docs/performance.md.

    python docs/figures/speed.py

In: the page, where each figure stands below its command. Out: an SVG that is readable on light and
dark pages. Needs only the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "performance.md"
PICTURE = FOLDER / "speed.svg"

TITLE = "What is fast and what is not: shorter bars are faster"
BELOW = "Two vCPUs with AVX-512; shorter is faster. Tables and commands: docs/performance.md"
WIDTH, ROW, LABELS, BARS = 920, 26, 250, 560  # pixels
STYLE = """
    .page{fill:#ffffff} .ink{fill:#1f2328} .soft{fill:#57606a} .grid{stroke:#d0d7de}
    .fast{fill:#1a7f37} .slow{fill:#bc4c00} .plain{fill:#3f51b5} .limit{stroke:#bc4c00}
    @media (prefers-color-scheme: dark) {
      .page{fill:#0d1117} .ink{fill:#e6edf3} .soft{fill:#9198a1} .grid{stroke:#30363d}
      .fast{fill:#3fb950} .slow{fill:#f0883e} .plain{fill:#8c9eff} .limit{stroke:#f0883e}
    }"""

Table = dict[str, dict[str, str]]  # row -> column -> cell


class Bar(NamedTuple):
    label: str
    value: float
    text: str


class Panel(NamedTuple):
    """Bars of one unit. With a limit, bars within it are fast and those beyond it slow."""

    title: str
    bars: Sequence[Bar]
    limit: float | None = None
    limit_text: str = ""


def read_table(page: str, heading: str) -> Table:
    """The first table below a heading."""
    section = page.split(f"\n## {heading}\n", 1)[1]
    found = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert found, f"no table below {heading!r}"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[0].splitlines()]
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}


def number(cell: str) -> float:
    return float(cell.split()[0])


def make_panels(page: str) -> list[Panel]:
    demo, published, paper = (
        read_table(page, heading)
        for heading in ("Demo voice", "Published size", "Next-token or multi-token prediction")
    )
    models = {
        **{f"demo voice, {heads}": demo for heads in demo["real-time factor"]},
        **{f"published size, {form}": published for form in published["real-time factor"]},
    }

    def read(row: str) -> list[Bar]:
        cells = [(model, table[row][model.split(", ", 1)[1]]) for model, table in models.items()]
        return [Bar(model, number(cell), cell) for model, cell in cells]

    decoding = [
        Bar(
            "next-token prediction" if name == "ntp" else f"{name.removeprefix('mtp-')} heads",
            number(row["decoding, ms per s of audio"]),
            f"{row['decoding, ms per s of audio']} ms",
        )
        for name, row in paper.items()
    ]
    return [
        Panel(
            "Seconds of computing for one second of speech",
            read("real-time factor"),
            1.0,
            "real time",
        ),
        Panel("Time until the first audio", read("first audio")),
        Panel("Decoding for one second of speech, demo size, without AVX-512", decoding),
    ]


def draw(panels: Sequence[Panel], title: str = TITLE, below: str = BELOW) -> str:
    body = list(_draw_panels(panels))
    height = 34 + sum(ROW * (len(panel.bars) + 2) for panel in panels)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="system-ui, sans-serif" font-size="14">',
            f"  <title>{title}</title>",
            f"  <style>{STYLE}\n  </style>",
            f'  <rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
            *body,
            f'  <text class="soft" x="20" y="{height - 16}" font-size="12">{below}</text>',
            "</svg>\n",
        ]
    )


def _draw_panels(panels: Sequence[Panel]) -> Iterator[str]:
    top = 14
    for panel in panels:
        yield f'  <text class="ink" x="20" y="{top + 18}" font-weight="600">{panel.title}</text>'
        yield from _draw_bars(panel, top + ROW + 2)
        top += ROW * (len(panel.bars) + 2)


def _draw_bars(panel: Panel, top: int) -> Iterator[str]:
    largest = max(bar.value for bar in panel.bars)
    bottom = top + ROW * len(panel.bars)
    yield f'  <path class="grid" d="M{LABELS} {top}V{bottom}"/>'
    for index, bar in enumerate(panel.bars):
        y, width = top + ROW * index, max(2, round(BARS * bar.value / largest))
        kind = "plain" if panel.limit is None else "fast" if bar.value < panel.limit else "slow"
        yield (
            f'  <text class="ink" x="{LABELS - 10}" y="{y + 18}" text-anchor="end">'
            f"{escape(bar.label)}</text>"
        )
        place = f'x="{LABELS}" y="{y + 5}" width="{width}" height="16"'
        yield f'  <rect class="{kind}" {place} rx="3"/>'
        yield f'  <text class="ink" x="{LABELS + width + 8}" y="{y + 18}">{escape(bar.text)}</text>'
    if panel.limit is not None:
        x = LABELS + round(BARS * panel.limit / largest)
        yield f'  <path class="limit" stroke-dasharray="4 3" d="M{x} {top - 4}V{bottom}"/>'
        yield (
            f'  <text class="soft" x="{x - 6}" y="{top + 10}" font-size="12" text-anchor="end">'
            f"{panel.limit_text}</text>"
        )


if __name__ == "__main__":
    PICTURE.write_text(draw(make_panels(PAGE.read_text("utf-8"))), encoding="utf-8")
