"""Draw peers.svg: other engines and other systems beside ours, from the tables of docs/peers.md.

    python docs/figures/peers.py

In: the page, where each figure stands below its command. Out: an SVG that is readable on light and
dark pages, drawn as `speed.py` draws. Needs only the standard library.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "peers.md"
PICTURE = FOLDER / "peers.svg"
TITLE = "Other engines and other systems: shorter bars are faster"
BELOW = "Two vCPUs with AVX-512, the systems on one of them. Tables and commands: docs/peers.md"

speed = SimpleNamespace(**runpy.run_path(str(FOLDER / "speed.py")))


def draw_row(table: dict[str, dict[str, str]], row: str, unit: str) -> list[object]:
    """A bar for each engine that has this figure, the fastest first."""
    cells = {engine: cell for engine, cell in table[row].items() if cell != "–"}
    ordered = sorted(cells.items(), key=lambda item: speed.number(item[1]))
    return [
        speed.Bar(name, speed.number(cell), f"{cell.split()[0]} {unit}") for name, cell in ordered
    ]


def draw_column(table: dict[str, dict[str, str]], column: str, unit: str) -> list[object]:
    """A bar for each system, in the order of the table."""
    return [
        speed.Bar(
            name.removesuffix(", random weights"),
            speed.number(row[column]),
            f"{row[column].split()[0]} {unit}".strip(),
        )
        for name, row in table.items()
    ]


def make_panels(page: str) -> list[object]:
    engines = speed.read_table(page, "Steps of the language model")
    codecs = speed.read_table(page, "The codec")
    systems = speed.read_table(page, "Whole systems")
    return [
        speed.Panel("A step, int4", draw_row(engines, "step int4, ms", "ms")),
        speed.Panel("A step, int8", draw_row(engines, "step int8, ms", "ms")),
        speed.Panel("A step, fp32", draw_row(engines, "step fp32, ms", "ms")),
        speed.Panel(
            "Decoding a second of audio, the published codec",
            draw_row(codecs, "codec, whole, ms", "ms"),
        ),
        speed.Panel(
            "Whole systems on one core: seconds of computing for one second of speech",
            draw_column(systems, "real-time factor", ""),
        ),
        speed.Panel(
            "Whole systems on one core: time until the first audio",
            draw_column(systems, "first audio, ms", "ms"),
        ),
    ]


def draw(panels: list[object]) -> str:
    picture: str = speed.draw(panels, TITLE, BELOW)
    return picture


if __name__ == "__main__":
    PICTURE.write_text(draw(make_panels(PAGE.read_text("utf-8"))), encoding="utf-8")
