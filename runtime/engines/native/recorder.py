"""What the parts of a native bundle cost, from the library's own clocks.

In: calls of the graphs that it opens. Out: the costs of each call. The library reads its clocks
between two parts, on the thread that calls it, so the parts add up to the whole call.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict

from runtime.bundle.loading import Bundle
from runtime.engines.graph import Graph
from runtime.engines.native.graphs import open_native_graph
from runtime.engines.native.library import PartTime
from runtime.engines.native.model import NativeModel
from runtime.engines.observing import CODEC_CHUNK, PREFILL, WHOLE_STEP
from runtime.engines.parts import Costs, Place, add_cost

_STAGES = {b"read": PREFILL, b"step": WHOLE_STEP, b"decode": CODEC_CHUNK}


class NativeRecorder:
    """See `PartRecorder`."""

    def __init__(self, bundle: Bundle, threads: int | None) -> None:
        """Raises `UserError`: no library, a damaged bundle, or no memory."""
        self._model = NativeModel(bundle, threads, time_parts=True)
        count = ctypes.c_size_t()
        self._call(None, 0, count)
        self._times = (PartTime * count.value)()
        self._phase: str | None = None
        # Times as the library wrote them: to read them between calls would cool the caches.
        self._taken: list[tuple[str, bytes]] = []

    def open_graph(self, name: str) -> Graph:
        return open_native_graph(self._model, name, None)

    def begin(self, phase: str | None) -> None:
        """The calls before it are done."""
        count = ctypes.c_size_t()
        self._call(self._times, len(self._times), count)
        if self._phase is not None:
            size = count.value * ctypes.sizeof(PartTime)
            self._taken.append((self._phase, ctypes.string_at(self._times, size)))
        self._phase = phase

    def finish(self) -> dict[tuple[str, str], list[Costs]]:
        self.begin(None)
        found: defaultdict[tuple[str, str], list[Costs]] = defaultdict(list)
        for phase, content in self._taken:
            for stage, costs in _costs_by_stage(content).items():
                found[phase, stage].append(costs)
        return dict(found)

    def _call(
        self, times: ctypes.Array[PartTime] | None, room: int, count: ctypes.c_size_t
    ) -> None:
        model = self._model
        model.library.call("slm_part_times", model.handle, times, room, ctypes.byref(count))


def _costs_by_stage(content: bytes) -> dict[str, Costs]:
    """The names in it are the bundle's, which must be open."""
    stages: defaultdict[str, Costs] = defaultdict(dict)
    times = (PartTime * (len(content) // ctypes.sizeof(PartTime))).from_buffer_copy(content)
    for time in times:
        place = Place(time.layer.decode(), time.part.decode())
        add_cost(stages[_STAGES[time.stage]], place, time.seconds, time.calls)
    return stages
