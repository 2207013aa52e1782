"""Spans arranged so that those of one lane nest, as slices of a trace and rows of a picture must.

In: spans of an utterance, from any thread. Out: lanes, each with spans of one thread. Calls of a
thread nest by themselves; what a GPU reports about them afterwards can overlap, and gets a lane
beside the thread's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from runtime.profiling.report import Span


def nanoseconds(seconds: float) -> int:
    """The unit of traces. Lanes compare in it, so that rounding cannot make spans overlap."""
    return round(seconds * 1e9)


@dataclass
class Lane:
    """depth: 0 is the thread's own lane. spans: by their start, an outer one before its inner."""

    thread: int
    depth: int
    spans: list[Span] = field(default_factory=list)
    _open: list[int] = field(default_factory=list)  # ends of the spans that are not over

    def take(self, span: Span) -> bool:
        """Whether the span nests among those that are here; if so, it is now one of them."""
        while self._open and self._open[-1] <= nanoseconds(span.start):
            self._open.pop()
        end = nanoseconds(span.start + span.seconds)
        if self._open and end > self._open[-1]:
            return False
        self._open.append(end)
        self.spans.append(span)
        return True


def find_lanes(spans: Iterable[Span]) -> list[Lane]:
    """The lanes of all threads, in the order in which the threads begin."""
    lanes: dict[int, list[Lane]] = {}
    for span in sorted(spans, key=lambda span: (span.start, -span.seconds)):
        of_thread = lanes.setdefault(span.thread, [])
        if not any(lane.take(span) for lane in of_thread):
            of_thread.append(lane := Lane(span.thread, depth=len(of_thread)))
            lane.take(span)
    return [lane for of_thread in lanes.values() for lane in of_thread]
