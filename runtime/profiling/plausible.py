"""Refuses reports that no measurement makes, before a page or a trace is made of them.

In: a report, perhaps from a file of strangers. Out: nothing, or an error that says which figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from commands.errors import UserError
from runtime.profiling.report import Report

LARGEST = 1e18  # of any unit; products of two such figures are still finite
LONGEST_SECONDS = 1e9  # nanoseconds since the text was given fit into 63 bits


def require_plausible(report: Report) -> None:
    """Every figure is finite, and every time of an utterance less than thirty years.

    Raises:
        UserError: it is not.
    """
    for place, value in _numbers(msgspec.to_builtins(report), "report"):
        is_time = isinstance(value, float) and ".timeline." in place
        limit = LONGEST_SECONDS if is_time else LARGEST
        if not abs(value) <= limit:
            raise UserError(f"{place} is {value}, which nobody can have measured: measure again")


def _numbers(value: Any, place: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, (int, float)):
        yield place, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, f"{place}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _numbers(inner, f"{place}[{index}]")
