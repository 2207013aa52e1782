"""How long an engine's work takes: engines report each call to an observer, if there is one.

In: calls of graphs. Out: the name of a stage and its seconds, as soon as a call is done. An engine
is opened with an observer or without one; without one nothing is timed and nothing is wrapped.
The profiler observes through this interface, and so can anything else, such as a server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from runtime.bundle import names
from runtime.engines.graph import Call

# Stages of a run. Any other graph is a stage that has the name of the graph.
PREFILL, STEP, HEAD, CODEC_CHUNK = "prefill", "step", "head", "codec_chunk"
WHOLE_STEP = "whole_step"  # backbone and head, in one call
DEVICE_PREFILL, DEVICE_STEP = "device_prefill", "device_step"  # backbone and head, in GPU time

_STAGES = {names.MTP_HEAD: HEAD, names.NTP_HEAD: HEAD, names.CODEC_DECODER: CODEC_CHUNK}


class Observer(Protocol):
    """Receives the times. Calls can come from several threads."""

    def note(self, stage: str, seconds: float) -> None:
        """A call is done."""


def stage_of(graph: str, positions: int = 1) -> str:
    """The stage of a call: a backbone with several positions reads a prompt."""
    if graph == names.BACKBONE:
        return PREFILL if positions > 1 else STEP
    return _STAGES.get(graph, graph)


@contextmanager
def observed(observer: Observer | None, stage: str) -> Iterator[None]:
    """Time the block."""
    start = time.perf_counter()
    yield
    if observer is not None:
        observer.note(stage, time.perf_counter() - start)


class ObservedCall:
    """A bound call that reports how long it takes."""

    def __init__(self, call: Call, stage: str, observer: Observer) -> None:
        self._call, self._stage, self._observer = call, stage, observer

    def run(self, turn: int) -> None:
        start = time.perf_counter()
        self._call.run(turn)
        self._observer.note(self._stage, time.perf_counter() - start)
