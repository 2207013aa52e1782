"""The table of servers under the same loads, and who is best at what.

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


@dataclass(frozen=True)
class Column:
    """value: of a server; None: there is none. best: `min` or `max`."""

    title: str
    value: Callable[[Found], float | None]
    best: Callable[[Sequence[float]], float]
    digits: int = 0


def format_report(report: Mapping[str, Any]) -> str:
    """A line for each server that was measured."""
    servers: Mapping[str, Found] = report["servers"]
    columns = _columns(report["streams"])
    best = {column.title: _best(column, servers) for column in columns}
    rows = [
        [name, found["version"], *(_cell(column, found, name, best) for column in columns)]
        for name, found in servers.items()
    ]
    return markdown_table(["", "version", *(column.title for column in columns)], rows)


def _columns(streams: Sequence[float]) -> list[Column]:
    first = [
        Column(f"{'first audio, ms, of ' * (not number)}{count:g}", _first_audio(count), min)
        for number, count in enumerate(streams)
    ]
    gaps = [
        Column(f"{'% with gaps, of ' * (not number)}{count:g} ", _gaps(count), min)
        for number, count in enumerate(streams)
    ]
    return [
        *first,
        *gaps,
        Column("audio s/s, most", _most("throughput", max), max, 1),
        Column("processor s/s of audio", _most("processor", min), min, 3),
        Column("memory, MiB", lambda found: float(found["memory_mib"]), min),
        Column("ready, s", lambda found: float(found["ready_seconds"]), min, 1),
    ]


def _level(found: Found, streams: float) -> Found | None:
    return next((level for level in found["levels"] if level["streams"] == streams), None)


def _first_audio(streams: float) -> Callable[[Found], float | None]:
    def value(found: Found) -> float | None:
        level = _level(found, streams)
        return 1e3 * level["first_audio"][0] if level and level["first_audio"] else None

    return value


def _gaps(streams: float) -> Callable[[Found], float | None]:
    def value(found: Found) -> float | None:
        level = _level(found, streams)
        return 100 * level["gaps"] / level["asked"] if level else None

    return value


def _most(name: str, best: Callable[[Sequence[float]], float]) -> Callable[[Found], float | None]:
    return lambda found: best([level[name] for level in found["levels"]])


def _best(column: Column, servers: Mapping[str, Found]) -> float | None:
    """As it is shown: two that look equal are both best."""
    values = [column.value(found) for name, found in servers.items() if name not in NOISE]
    known = [round(value, column.digits) for value in values if value is not None]
    return column.best(known) if known else None


def _cell(column: Column, found: Found, name: str, best: Mapping[str, float | None]) -> str:
    value = column.value(found)
    if value is None:
        return NONE
    said = f"{value:.{column.digits}f}"
    is_best = name not in NOISE and round(value, column.digits) == best[column.title]
    return f"**{said}**" if is_best else said
