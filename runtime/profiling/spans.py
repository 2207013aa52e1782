"""What an engine does in time: an observer that keeps the calls as spans.

In: calls of an engine (`runtime.engines.observing`), from any thread. Out: spans, with their start.
An observer hears of a call when it is done, so a span ends at that moment.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from runtime.engines import observing
from runtime.profiling.report import Span

TEXT = "text"  # a stage of its own: sentences, token ids and the voice
_TRACKS = {TEXT: "text", observing.CODEC_CHUNK: "codec"}
LANGUAGE_MODEL = "language model"


class SpanRecorder:
    """An observer. Times are of `time.perf_counter`, less the moment of the last `begin`."""

    def __init__(self) -> None:
        self._origin = time.perf_counter()
        self._spans: list[Span] = []

    def begin(self) -> None:
        """Forget what was, and count from now on."""
        self._spans = []
        self._origin = time.perf_counter()

    def now(self) -> float:
        """Seconds since `begin`."""
        return time.perf_counter() - self._origin

    def note(self, stage: str, seconds: float) -> None:
        """See `Observer`."""
        span = Span(
            track=_TRACKS.get(stage, LANGUAGE_MODEL),
            name=stage,
            start=self.now() - seconds,
            seconds=seconds,
            thread=threading.get_native_id(),
        )
        self._spans.append(span)

    @contextmanager
    def during(self, stage: str) -> Iterator[None]:
        """The block is a span."""
        start = time.perf_counter()
        yield
        self.note(stage, time.perf_counter() - start)

    @property
    def spans(self) -> tuple[Span, ...]:
        """All so far, by their start."""
        return tuple(sorted(self._spans, key=lambda span: span.start))


def seconds_by_stage(spans: Sequence[Span]) -> dict[str, list[float]]:
    """The seconds of every call, by stage."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for span in spans:
        found[span.name].append(span.seconds)
    return dict(found)
