"""The loop on memory of the host: backbone and head take turns on bound buffers.

In: graphs that work on their caller's memory, and requests. Out: steps, done when they are
returned. Each row has a slice of every buffer. A row begins with a call of its own, on its slice,
which reads the prompt; after that all rows step in one call, on the first slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import names
from runtime.engines.graph import Array, BindableGraph, Call, Graph, States, allocate
from runtime.engines.rows import DRAWN, SETTINGS, Row, RowLoop, Step, head_settings

CAPACITY_STEP = 256  # positions by which the caches of several rows grow
_OWN = (*SETTINGS, names.NOISE, *DRAWN, names.NEXT_EMBEDDING)  # the head's, besides its states


@dataclass(frozen=True)
class Context:
    """What the backbone has read already, for one row.

    states: its caches, with room for `capacity` positions in all. hidden: float32 [1, length,
    hidden_size], the hidden states of all positions so far, which some heads look back on. turn:
    the turn at which the next call reads the states.
    """

    states: States
    capacity: int
    hidden: NDArray[np.float32]
    turn: int = 0

    @property
    def length(self) -> int:
        """Positions so far."""
        return self.hidden.shape[1]


@dataclass(frozen=True)
class _Parked:
    """A row that is paused. own: the head's inputs. states: of backbone and head."""

    own: dict[str, Array]
    states: list[list[Array]]
    length: int


def begin_context(backbone: Graph, capacity: int) -> Context:
    """Nothing has been read; there is room for `capacity` positions."""
    states = States(backbone.spec, {names.CAPACITY: capacity})
    hidden = next(tensor for tensor in backbone.spec.outputs if tensor.name == names.HIDDEN)
    return Context(states, capacity, np.zeros((1, 0, int(hidden.shape[-1])), np.float32))


class HostRows(RowLoop):
    """See `RowLoop`."""

    def __init__(
        self,
        backbone: BindableGraph,
        head: BindableGraph,
        streams: int,
        room: int,
        context: Context | None = None,
    ) -> None:
        """context: what the backbone has read before the prompt of the only row, with room for the
        prompt and the steps."""
        super().__init__(room, streams)
        assert context is None or room == 1
        self._backbone, self._head = backbone, head
        self._context = context
        # The turn at which the next step reads the states. A prompt is read at the other turn.
        self._turn = 1 - context.turn if context else 0
        self._lengths = np.zeros(room, np.int64)  # positions in each row's caches
        tensors = (*head.spec.inputs, *head.spec.outputs)
        self._own: dict[str, Array] = {
            tensor.name: allocate(tensor, {names.ROWS: room})
            for tensor in tensors
            if tensor.name in _OWN
        }
        self._noise = self._own[names.NOISE]
        self._drawn = [self._own[name] for name in DRAWN]
        self._hidden = np.zeros_like(self._own[names.NEXT_EMBEDDING])
        self._capacity = 0
        self._states: tuple[States, States] | None = None  # of backbone and head
        self._step_calls: dict[int, list[Call]] = {}  # by number of rows

    def _advance(self, begun: list[Row]) -> list[Step]:
        steps = self._step_all() if self._slots else []
        for row in begun:
            self._slots.append(row)
            steps.append(self._begin(row, len(self._slots) - 1))
        return steps

    def _step_all(self) -> list[Step]:
        """One call of each graph for all rows."""
        count = len(self._slots)
        if count not in self._step_calls:
            self._step_calls[count] = self._bind_step(count)
        for slot, row in enumerate(self._slots):
            row.request.random.random(out=self._noise[slot], dtype=np.float32)
        for call in self._step_calls[count]:
            call.run(self._turn)
        self._turn = 1 - self._turn
        self._lengths[:count] += 1
        return [self._read(row, slot) for slot, row in enumerate(self._slots)]

    def _begin(self, row: Row, slot: int) -> Step:
        """Read the prompt, and leave the states where the next step reads them."""
        request = row.request
        context = self._context
        self._reserve(context.length if context else 0, request.positions + request.max_steps)
        backbone, head = self._ready_states()
        head.clear(slot)
        if context is None:
            backbone.clear(slot)
        for name, value in head_settings(self._head.spec, request.sampling).items():
            self._own[name][slot] = value
        request.random.random(out=self._noise[slot], dtype=np.float32)
        for call in self._bind_prompt(np.ascontiguousarray(request.prompt), slot):
            call.run(1 - self._turn)
        self._lengths[slot] = request.positions + (context.length if context else 0)
        return self._read(row, slot)

    def _bind_prompt(self, prompt: Array, slot: int) -> Sequence[Call]:
        """The head gets the hidden states of the prompt and of all that was read before it."""
        rows = slice(slot, slot + 1)
        before = np.zeros_like(prompt[:, :0]) if self._context is None else self._context.hidden
        hidden = np.concatenate([before, np.zeros_like(prompt)], axis=1)
        read = {
            names.INPUTS_EMBEDS: prompt,
            names.PAST_LENGTH: np.array([before.shape[1]], np.int64),
            names.HIDDEN: hidden[:, before.shape[1] :],
        }
        heard = {name: array[rows] for name, array in self._own.items()}
        heard |= {names.PAST_LENGTH: np.zeros(1, np.int64), names.HIDDEN: hidden}
        return self._bind(read, heard, rows)

    def _bind_step(self, count: int) -> list[Call]:
        """The backbone reads the embedding that the head left, one position a row."""
        rows = slice(0, count)
        own = {name: array[rows] for name, array in self._own.items()}
        shared = {names.PAST_LENGTH: self._lengths[rows], names.HIDDEN: self._hidden[rows]}
        read = {names.INPUTS_EMBEDS: own[names.NEXT_EMBEDDING], **shared}
        return self._bind(read, {**own, **shared}, rows)

    def _bind(self, read: dict[str, Array], heard: dict[str, Array], rows: slice) -> list[Call]:
        backbone, head = self._ready_states()
        return [
            self._backbone.bind(read, read, backbone, rows),
            self._head.bind(heard, heard, head, rows),
        ]

    def _read(self, row: Row, slot: int) -> Step:
        codes, kept, stop = self._drawn
        return row.take(codes[slot, : kept[slot]].tolist(), stop=bool(stop[slot]))

    def _move(self, source: int, target: int) -> None:
        for name in (*SETTINGS, names.NEXT_EMBEDDING):
            self._own[name][target] = self._own[name][source]
        self._lengths[target] = self._lengths[source]
        for states in self._ready_states():
            states.move(source, target, self._turn)

    def _park(self, row: Row, slot: int) -> _Parked:
        own = {name: self._own[name][slot].copy() for name in (*SETTINGS, names.NEXT_EMBEDDING)}
        states = [states.copy_row(slot, self._turn) for states in self._ready_states()]
        return _Parked(own, states, int(self._lengths[slot]))

    def _unpark(self, row: Row, slot: int, parked: _Parked) -> None:
        for name, value in parked.own.items():
            self._own[name][slot] = value
        for states, arrays in zip(self._ready_states(), parked.states, strict=True):
            states.put_row(slot, self._turn, arrays)
        self._lengths[slot] = parked.length

    def _reserve(self, before: int, positions: int) -> None:
        """Make the caches large enough for one more row."""
        capacity = self._context.capacity if self._context else before + positions
        if self.room > 1:
            capacity = -(-capacity // CAPACITY_STEP) * CAPACITY_STEP
        if self._states is None:
            sizes = {names.ROWS: self.room, names.CAPACITY: capacity}
            context = self._context
            backbone = context.states if context else States(self._backbone.spec, sizes)
            self._states = backbone, States(self._head.spec, sizes)
        elif capacity > self._capacity:
            backbone, head = self._states
            self._states = backbone.grow(capacity), head.grow(capacity)
            self._step_calls.clear()  # they are bound to the old buffers
        self._capacity = max(capacity, self._capacity)

    def _ready_states(self) -> tuple[States, States]:
        assert self._states is not None, "no row has begun"
        return self._states
