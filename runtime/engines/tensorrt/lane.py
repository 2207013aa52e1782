"""A lane: all memory of a loop on the GPU, and the work that is done on it.

In: the plans of backbone and head, and a number of rows. Out: prompts and steps, put into the
lane's stream, and what they drew. A step is one captured graph: noise and positions are fetched
from page-locked memory, the embedding of the step before lies where the head left it, and what was
drawn is sent back. This module does not decide when a row begins or ends.

A graph is captured for each turn of the states that do not work in place. The two turns are also
the two sets of page-locked memory that let the host write the feed of step k + 1 and read what step
k - 1 drew while step k runs. Each number of rows needs a graph of its own as well. So graphs are
captured for 1, 2, 4 … rows, and a step runs the smallest one that holds its rows. The results of
the other slots are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.bundle import names
from runtime.engines.graph import size_bytes
from runtime.engines.rows import DRAWN, SETTINGS, Row
from runtime.engines.tensorrt.cuda import CapturedGraph, Event, Stream
from runtime.engines.tensorrt.device_states import DeviceStates
from runtime.engines.tensorrt.memory import DeviceMemory, copy_on_device, pack
from runtime.engines.tensorrt.plans import Plan, PlanCall
from runtime.engines.tensorrt.prompt_call import PromptCall

TURNS = 2
CALLS = (names.PREFILL, names.STEP)


@dataclass(frozen=True)
class ParkedRow:
    """A row that is paused. fed_back: the embedding that its next step reads."""

    states: list[DeviceStates]
    fed_back: DeviceMemory
    settings: dict[str, NDArray[Any]]
    length: int


class Lane:
    """Memory for `room` rows, which is used by one loop at a time."""

    def __init__(self, backbone: Plan, head: Plan, room: int) -> None:
        """Raises `UserError` if no GPU memory is left, or if a step cannot be captured."""
        self.room = room
        self._plans = (backbone, head)
        self._stream = Stream()
        self.started, self.done = [Event(), Event()], [Event(), Event()]
        self._states = [DeviceStates(plan.spec, room) for plan in self._plans]
        needed = [plan.scratch_bytes(name) for plan in self._plans for name in CALLS]
        self._scratch = DeviceMemory(max(needed))  # the calls of one stream never overlap
        self.prompt = PromptCall(backbone, head, self._scratch, self._stream)
        self._allocate()
        self._lengths = [0] * room  # positions in each row's caches
        self._turn = 0  # of the next step
        self._calls: dict[int, list[list[PlanCall]]] = {}  # by number of rows and turn
        self._graphs: dict[int, list[CapturedGraph]] = {}
        for count in graph_sizes(room):
            self._calls[count] = [self._bind(count, turn) for turn in range(TURNS)]
        self._captured_for = b""
        self._capture()

    def wait(self) -> None:
        """Wait until no work is left, such as a step that was launched after the last one."""
        self._stream.synchronize()

    def begin(self, row: Row, slot: int) -> None:
        """Read the row's prompt and put its state into the slot."""
        self.prompt.launch(row.request)
        self._settings_sent.synchronize()  # before the host memory is written again
        for name, value in self.prompt.settings().items():
            self._settings.host[name][slot] = value[0]
        if self._captured_for != self._host_values():
            self._stream.synchronize()
            self._capture()
        self._send_settings()
        for states, single in zip(self._states, self.prompt.states, strict=True):
            states.take_row(slot, self._turn, single, self._stream)
        source, size = self.prompt.next_embedding.address, self._embedding_bytes
        copy_on_device(self._fed_back.address + slot * size, source, size, self._stream)
        self._lengths[slot] = row.request.positions

    def launch_step(self, rows: Sequence[Row | None]) -> int:
        """Advance the rows in the first slots; None fills a slot whose row takes no step.

        Returns the turn, which `read_step` takes.
        """
        turn = self._turn
        feed = self._feed[turn].host
        feed[names.PAST_LENGTH][...] = 0
        for slot, row in enumerate(rows):
            if row is not None:
                feed[names.PAST_LENGTH][slot] = self._lengths[slot]
                row.request.random.random(out=feed[names.NOISE][slot], dtype=np.float32)
                self._lengths[slot] += 1
        self.started[turn].record(self._stream)
        count = next(size for size in self._graphs if size >= len(rows))
        self._graphs[count][turn].launch(self._stream)
        self.done[turn].record(self._stream)
        self._turn = (turn + 1) % TURNS
        return turn

    def read_step(self, turn: int) -> dict[str, NDArray[Any]]:
        """Wait for a step, and return what it drew, by tensor name and slot."""
        self.done[turn].synchronize()
        return self._drawn[turn].host

    def move(self, source: int, target: int) -> None:
        """Move a row to another slot, after the work that was launched."""
        for states in self._states:
            states.move(source, target, self._turn, self._stream)
        size, first = self._embedding_bytes, self._fed_back.address
        copy_on_device(first + target * size, first + source * size, size, self._stream)
        self._settings_sent.synchronize()
        for values in self._settings.host.values():
            values[target] = values[source]
        self._send_settings()
        self._lengths[target] = self._lengths[source]

    def park(self, slot: int) -> ParkedRow:
        """Copy a row out of its slot, after the work that was launched.

        Raises:
            UserError: no GPU memory is left.
        """
        parked = ParkedRow(
            [DeviceStates(plan.spec) for plan in self._plans],
            DeviceMemory(self._embedding_bytes),
            {name: values[slot].copy() for name, values in self._settings.host.items()},
            self._lengths[slot],
        )
        for states, single in zip(self._states, parked.states, strict=True):
            states.give_row(slot, self._turn, single, self._stream)
        source, size = self._fed_back.address, self._embedding_bytes
        copy_on_device(parked.fed_back.address, source + slot * size, size, self._stream)
        return parked

    def unpark(self, slot: int, parked: ParkedRow) -> None:
        """Copy it into a free slot."""
        for states, single in zip(self._states, parked.states, strict=True):
            states.take_row(slot, self._turn, single, self._stream)
        target, size = self._fed_back.address, self._embedding_bytes
        copy_on_device(target + slot * size, parked.fed_back.address, size, self._stream)
        self._settings_sent.synchronize()
        for name, value in parked.settings.items():
            self._settings.host[name][slot] = value
        self._send_settings()
        self._lengths[slot] = parked.length

    def _allocate(self) -> None:
        """Allocate everything but the states."""
        backbone, head = self._plans
        tensors = {t.name: t for t in (*head.spec.inputs, *head.spec.outputs)}
        rows = {names.ROWS: self.room}
        one = {names.POSITIONS: 1, names.ROWS: 1}
        self._hidden = DeviceMemory(size_bytes(tensors[names.HIDDEN], {**one, **rows}))
        self._embedding_bytes = size_bytes(tensors[names.NEXT_EMBEDDING], one)
        self._fed_back = DeviceMemory(self.room * self._embedding_bytes)
        self._fed_back.fill_zero(self._stream)
        for states in self._states:
            states.clear(self._stream)
        lengths = next(t for t in backbone.spec.inputs if t.name == names.PAST_LENGTH)
        self._settings = pack([tensors[name] for name in SETTINGS], rows)
        self._settings_sent = Event()
        for value in self._settings.host.values():
            value[...] = 1  # greedy, until a row says otherwise
        self._feed = [pack([lengths, tensors[names.NOISE]], rows) for _ in range(TURNS)]
        self._drawn = [pack([tensors[name] for name in DRAWN], rows) for _ in range(TURNS)]
        for group in self._drawn:
            group.upload(self._stream)  # the gaps between tensors are downloaded as well

    def _bind(self, count: int, turn: int) -> list[PlanCall]:
        """Calls of backbone and head for so many rows, with an address for every tensor."""
        addresses = {
            names.INPUTS_EMBEDS: self._fed_back.address,
            names.HIDDEN: self._hidden.address,
            names.NEXT_EMBEDDING: self._fed_back.address,
            **self._settings.device_addresses(),
            **self._feed[turn].device_addresses(),
            **self._drawn[turn].device_addresses(),
        }
        for states in self._states:
            addresses |= states.addresses(turn)
        on_host = self._plans[1].host_inputs
        places = self._settings.host_addresses().items()
        addresses |= {name: at for name, at in places if name in on_host}
        calls = []
        for plan in self._plans:
            call = plan.call(names.STEP, self._scratch, self._stream, is_fixed=True)
            call.set_addresses(addresses)
            call.set_shapes({names.POSITIONS: 1, names.ROWS: count})
            calls.append(call)
        return calls

    def _capture(self) -> None:
        """Record the graphs of a step. No row may be stepping: the states are overwritten."""
        self._captured_for = self._host_values()
        self._send_settings()
        for count, turns in self._calls.items():
            for turn, calls in enumerate(turns):
                self._enqueue(turn, calls)  # a first call sets up what no graph may hold
            self._stream.synchronize()
            _require_capture([call for calls in turns for call in calls], self._stream)
            self._graphs[count] = []
            for turn, calls in enumerate(turns):
                with self._stream.capture() as graph:
                    self._enqueue(turn, calls)
                self._graphs[count].append(graph)

    def _enqueue(self, turn: int, calls: Sequence[PlanCall]) -> None:
        self._feed[turn].upload(self._stream)
        for call in calls:
            call.enqueue(self._stream)
        self._drawn[turn].download(self._stream)

    def _send_settings(self) -> None:
        self._settings.upload(self._stream)
        self._settings_sent.record(self._stream)

    def _host_values(self) -> bytes:
        """The settings that are part of a captured graph because they decide shapes."""
        on_host = self._plans[1].host_inputs
        return b"".join(self._settings.host[name].tobytes() for name in SETTINGS if name in on_host)


def _require_capture(calls: Sequence[PlanCall], stream: Stream) -> None:
    for call in calls:
        if not call.can_be_captured(stream):
            raise UserError(
                f"{call.plan.path}: TensorRT cannot capture it into a CUDA graph; rebuild it"
            )


def graph_sizes(room: int) -> list[int]:
    """1, 2, 4 … and `room`."""
    sizes = [1]
    while sizes[-1] < room:
        sizes.append(min(2 * sizes[-1], room))
    return sizes
