"""Tables of loads, servers and batches in the docs, and the picture, are what the reports say."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

from benchmarks.serving.batches import format_report as format_batches
from benchmarks.serving.figures import Level, format_levels
from benchmarks.serving.peers.report import format_report as format_servers

ROOT = Path(__file__).parents[3]
REPORTS = ROOT / "benchmarks" / "reports" / "serving"
LOAD, BATCH = ROOT / "docs" / "load.md", ROOT / "docs" / "batch.md"


def report(name: str) -> Any:
    return json.loads((REPORTS / f"{name}.json").read_text("utf-8"))


def test_the_tables_of_loads_are_those_of_the_reports() -> None:
    levels = [
        Level(**level) for name in ("load-80", "load-200") for level in report(name)["levels"]
    ]
    assert format_levels(levels) in LOAD.read_text("utf-8")


def test_the_tables_of_servers_are_those_of_the_report() -> None:
    assert format_servers(report("servers")) in LOAD.read_text("utf-8")


def test_the_table_of_batches_is_that_of_the_report() -> None:
    assert format_batches(report("batches")) in BATCH.read_text("utf-8")


def test_the_picture_is_drawn_from_the_report() -> None:
    drawn = runpy.run_path(str(ROOT / "docs" / "figures" / "servers.py"))
    picture = (ROOT / "docs" / "figures" / "servers.svg").read_text("utf-8")
    assert drawn["draw"](report("servers")) == picture
