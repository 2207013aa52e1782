"""The loop on the GPU: it launches one captured graph a step and reads one step behind.

In: the plans of backbone and head. Out: loops, with the same steps as those on the host. It does
not know when speech ends, and it knows no frames, text or audio.

    stream   | prompt | step 1 | step 2 | step 3 …
    host     launch prompt, launch 1, read prompt, launch 2, read 1, launch 3, read 2 …

While the host reads what step k drew, step k + 1 is running: the GPU does not wait for the host. A
row that ended with step k takes part in step k + 1 as well, but that result is not read.
Rows that join have their prompts read between two steps.

A loop needs a `Lane`. One lane of a single row is made when the engine is loaded, and more when
loops overlap, up to `MAX_LANES`; weights are shared, and lanes are kept for later loops.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from commands.errors import UserError
from runtime.bundle import names
from runtime.engines.observing import DEVICE_PREFILL, DEVICE_STEP, Observer
from runtime.engines.rows import DRAWN, SETTINGS, Row, RowLoop, Step
from runtime.engines.tensorrt.lane import Lane, ParkedRow
from runtime.engines.tensorrt.plans import Plan

MAX_LANES = 4  # loops that are open at the same time


class DeviceLoops:
    """The lanes of an engine, and which of them are in use."""

    def __init__(
        self, backbone: Plan, head: Plan, streams: int, observer: Observer | None = None
    ) -> None:
        """Raises `UserError` if the plans do not fit each other or no GPU memory is left."""
        check_plans(backbone, head)
        self._plans = (backbone, head)
        self._streams = streams
        self._observer = observer
        self._lock = threading.Lock()
        self._idle = [Lane(backbone, head, room=1)]
        self._count = 1

    def open(self, room: int) -> DeviceRows:
        """A loop for `room` rows. Raises `UserError` if too many are open."""
        on_host = self._plans[1].host_inputs
        if room > 1 and on_host:
            raise UserError(
                f"{self._plans[1].path}: takes one row at a time, because {min(on_host)} decides "
                "shapes; rebuild it"
            )
        return DeviceRows(self._take_lane(room), self._streams, self._give_back, self._observer)

    def _give_back(self, lane: Lane) -> None:
        with self._lock:
            self._idle.append(lane)

    def _take_lane(self, room: int) -> Lane:
        with self._lock:
            for lane in self._idle:
                if lane.room == room:
                    self._idle.remove(lane)
                    return lane
            if self._count == MAX_LANES and self._idle:
                self._idle.pop(0)  # of another size: its place is needed
            elif self._count == MAX_LANES:
                raise UserError(
                    f"{MAX_LANES} utterances are being spoken on this GPU at once, which is the "
                    "limit; finish or close one of them first"
                )
            else:
                self._count += 1
        return self._make_lane(room)

    def _make_lane(self, room: int) -> Lane:
        """Make the lane that was counted, without the lock: a capture takes long."""
        try:
            return Lane(*self._plans, room)
        except BaseException:
            with self._lock:
                self._count -= 1
            raise


class DeviceRows(RowLoop):
    """See `RowLoop`."""

    def __init__(
        self,
        lane: Lane,
        streams: int,
        give_back: Callable[[Lane], None],
        observer: Observer | None = None,
    ) -> None:
        super().__init__(lane.room, streams)
        lane.wait()  # a step that nobody read may still be running
        self._lane: Lane | None = lane
        self._give_back = give_back
        self._observer = observer
        # The step that was launched but not read yet: its turn, and the rows by slot.
        self._launched: tuple[int, list[Row]] | None = None

    def close(self) -> None:
        """Give the lane back. Calling it again does nothing."""
        lane, self._lane = self._lane, None
        if lane is not None:
            self._slots.clear()
            self._waiting.clear()
            self._paused.clear()
            self._give_back(lane)

    def _advance(self, begun: list[Row]) -> list[Step]:
        lane, launched = self._open_lane(), self._launched
        firsts = []
        for number, row in enumerate(begun):
            if number:  # the memory of a prompt serves one at a time
                firsts.append(self._read_prompt(lane, begun[number - 1]))
            self._slots.append(row)
            lane.begin(row, len(self._slots) - 1)
        read = [] if launched is None else launched[1]
        self._launched = self._launch_next(lane, {*read, *begun})
        steps = [] if launched is None else self._read_step(lane, *launched)
        if begun:
            firsts.append(self._read_prompt(lane, begun[-1]))
        return steps + firsts

    def _launch_next(self, lane: Lane, unread: set[Row]) -> tuple[int, list[Row]] | None:
        """Launch the step after the one that is about to be read, for rows that may take it.
        unread: rows with a step that is about to be read; those that were paused have none."""
        going = [
            row if row.steps + (row in unread) < row.request.max_steps else None
            for row in self._slots
        ]
        if not any(going):
            return None
        return lane.launch_step(going), list(self._slots)

    def _read_step(self, lane: Lane, turn: int, rows: list[Row]) -> list[Step]:
        drawn = lane.read_step(turn)
        if self._observer is not None:
            self._observer.note(DEVICE_STEP, lane.done[turn].seconds_since(lane.started[turn]))
        return [_take(row, drawn, slot) for slot, row in enumerate(rows) if not row.ended]

    def _read_prompt(self, lane: Lane, row: Row) -> Step:
        prompt = lane.prompt
        drawn = prompt.read()
        if self._observer is not None:
            self._observer.note(DEVICE_PREFILL, prompt.done.seconds_since(prompt.started))
        return _take(row, drawn, 0)

    def _move(self, source: int, target: int) -> None:
        self._open_lane().move(source, target)

    def _park(self, row: Row, slot: int) -> ParkedRow:
        return self._open_lane().park(slot)

    def _unpark(self, row: Row, slot: int, parked: ParkedRow) -> None:
        self._open_lane().unpark(slot, parked)

    def _open_lane(self) -> Lane:
        assert self._lane is not None, "the loop was closed"
        return self._lane


def _take(row: Row, drawn: Mapping[str, Any], slot: int) -> Step:
    codes, kept, stop = (drawn[name][slot] for name in DRAWN)
    return row.take(codes[: int(kept)].tolist(), stop=bool(stop))


def check_plans(backbone: Plan, head: Plan) -> None:
    """Raises `UserError` for plans that cannot take turns without the host."""
    outputs = {tensor.name: tensor for tensor in (*backbone.spec.outputs, *head.spec.outputs)}
    inputs = {tensor.name: tensor for tensor in (*backbone.spec.inputs, *head.spec.inputs)}
    for source, target in (
        (names.HIDDEN, names.HIDDEN),
        (names.NEXT_EMBEDDING, names.INPUTS_EMBEDS),
    ):
        if outputs[source].dtype != inputs[target].dtype:
            raise UserError(
                f"{backbone.path}: {source} is {outputs[source].dtype} and {target} is "
                f"{inputs[target].dtype}; export the bundle again"
            )
    for plan in (backbone, head):
        unfit = plan.host_inputs - set(SETTINGS)
        if unfit or not {names.PREFILL, names.STEP} <= set(plan.profiles):
            what = f"{sorted(unfit)[0]} decides shapes" if unfit else "it lacks a profile"
            raise UserError(f"{plan.path}: cannot be captured ({what}); rebuild it")
