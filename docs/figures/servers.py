"""Draw servers.svg: servers of speech under the same loads, from the report of docs/load.md.

    python docs/figures/servers.py

In: `benchmarks/reports/serving/servers.json`. Out: an SVG that is readable on light and dark pages,
drawn as `speed.py` draws. Needs only the standard library.
"""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

FOLDER = Path(__file__).parent
REPORT = FOLDER.parents[1] / "benchmarks" / "reports" / "serving" / "servers.json"
PICTURE = FOLDER / "servers.svg"
TITLE = "Servers of speech under the same loads"
BELOW = "Two vCPUs with AVX-512, one server at a time. Tables and commands: docs/load.md"

speed = SimpleNamespace(**runpy.run_path(str(FOLDER / "speed.py")))
Found = dict[str, Any]


def bars(report: Found, value: Callable[[Found], float | None], form: str) -> list[object]:
    """A bar for each server that has this figure."""
    figures = {name: value(found) for name, found in report["servers"].items()}
    return [
        speed.Bar(name.removesuffix(", random weights"), figure, form.format(figure))
        for name, figure in figures.items()
        if figure is not None
    ]


def first_audio(streams: float) -> Callable[[Found], float | None]:
    """Its median in milliseconds, at a load."""

    def value(found: Found) -> float | None:
        for level in found["levels"]:
            if level["streams"] == streams and level["first_audio"]:
                return float(1e3 * level["first_audio"][0])
        return None

    return value


def make_panels(report: Found) -> list[object]:
    low, high = min(report["streams"]), max(report["streams"])

    def most(found: Found) -> float:
        return max(level["throughput"] for level in found["levels"])

    def processor(found: Found) -> float:
        return min(level["processor"] for level in found["levels"])

    return [
        speed.Panel(
            f"Time until the first audio, {low:g} stream",
            bars(report, first_audio(low), "{:.0f} ms"),
        ),
        speed.Panel(
            f"Time until the first audio, {high:g} streams; who fell behind before is not there",
            bars(report, first_audio(high), "{:.0f} ms"),
        ),
        speed.Panel(
            "Work of the processor for a second of audio", bars(report, processor, "{:.3f} s")
        ),
        speed.Panel(
            f"Audio spoken in a second at {high:g} streams or fewer; longer bars are faster",
            bars(report, most, "{:.1f} s"),
        ),
    ]


def draw(report: Found) -> str:
    picture: str = speed.draw(make_panels(report), TITLE, BELOW)
    return picture


if __name__ == "__main__":
    PICTURE.write_text(draw(json.loads(REPORT.read_text("utf-8"))), encoding="utf-8")
