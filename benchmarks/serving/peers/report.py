"""Tables of servers under the same loads, and who is best at what.

In: what `benchmarks.serving.compare` keeps. Out: Markdown; the best value of a column is bold. Of
servers with random weights nothing can be heard but the time, so they are not best at anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.serving.peers.roster import SERVERS
from commands.tables import markdown_table

NONE = "–"
NOISE = {server.name for server in SERVERS if server.noise}
Found = Mapping[str, Any]
Figure = Callable[[Found], float | None]


@dataclass(frozen=True)
class Column:
    """value: of a server; None: there is none. best: `min` or `max`."""

    title: str
    value: Figure
    best: Callable[[Sequence[float]], float]
    digits: int = 0


def format_report(report: Mapping[str, Any]) -> str:
    """Three tables: first audio and gaps by load, and what does not depend on one."""
    servers: Mapping[str, Found] = report["servers"]
    loads: Sequence[float] = report["streams"]
    tables = [
        ("first audio p50, ms", _by_load(loads, lambda level: _percentile(level, 0))),
        ("first audio p95, ms", _by_load(loads, lambda level: _percentile(level, 1))),
        ("heard a gap, %", _by_load(loads, lambda level: 100 * level["gaps"] / level["asked"])),
        ("", OVERALL),
    ]
    return "\n".join(_table(title, columns, servers) for title, columns in tables)


def _table(title: str, columns: Sequence[Column], servers: Mapping[str, Found]) -> str:
    best = [_best(column, servers) for column in columns]
    rows = [
        [name, *(_cell(*each, found, name) for each in zip(columns, best, strict=True))]
        for name, found in servers.items()
    ]
    if not title:
        rows = [[*row, servers[row[0]]["version"]] for row in rows]
    titles = [column.title for column in columns]
    return markdown_table([title, *titles, *([] if title else ["version"])], rows)


def _by_load(loads: Sequence[float], figure: Figure) -> list[Column]:
    def at(streams: float) -> Figure:
        def value(found: Found) -> float | None:
            levels = (level for level in found["levels"] if level["streams"] == streams)
            level = next(levels, None)
            return None if level is None else figure(level)

        return value

    return [
        Column(f"{streams:g} stream{'s' * (streams > 1)}", at(streams), min) for streams in loads
    ]


def _percentile(level: Found, number: int) -> float | None:
    return 1e3 * level["first_audio"][number] if level["first_audio"] else None


def _over_levels(name: str, best: Callable[[Sequence[float]], float]) -> Figure:
    return lambda found: best([level[name] for level in found["levels"]])


OVERALL = (
    Column("audio s/s, most", _over_levels("throughput", max), max, 1),
    Column("processor, s/s of audio", _over_levels("processor", min), min, 3),
    Column("memory, MiB", lambda found: float(found["memory_mib"]), min),
    Column("ready, s", lambda found: float(found["ready_seconds"]), min, 1),
)


def _best(column: Column, servers: Mapping[str, Found]) -> float | None:
    """As it is shown: two that look equal are both best."""
    values = [column.value(found) for name, found in servers.items() if name not in NOISE]
    known = [round(value, column.digits) for value in values if value is not None]
    return column.best(known) if known else None


def _cell(column: Column, best: float | None, found: Found, name: str) -> str:
    value = column.value(found)
    if value is None:
        return NONE
    said = f"{value:.{column.digits}f}"
    return f"**{said}**" if name not in NOISE and round(value, column.digits) == best else said
