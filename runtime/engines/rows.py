"""Rows: texts that are spoken side by side, and join and leave between steps.

In: requests. Out: the frames that each step brings to each row. `RowLoop` keeps account of the
rows. The loop of each engine computes the steps: `runtime.engines.host_rows` in memory of the host,
`runtime.engines.tensorrt.device_rows` on a GPU. The names of the contract's tensors are known here;
text, sentences and audio are not.

A loop has a fixed number of slots, and its live rows always take the first ones. So a step of n
rows works on the first n rows of every buffer, and when a row leaves, the last one takes its slot.
A row that is paused leaves its slot as well, and what it has read is kept elsewhere meanwhile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.bundle import names
from runtime.bundle.manifest import GraphSpec, SamplingDefaults

if TYPE_CHECKING:
    from typing_extensions import Self

SETTINGS = (names.TEMPERATURE, names.TOP_K, names.TOP_P, names.REPETITION_PENALTY)
DRAWN = (names.CODES, names.KEPT_CODES, names.STOP)


@dataclass(frozen=True, eq=False)
class Request:
    """One text to speak.

    prompt: float32 [1, positions, hidden_size], embeddings that end in `<sosp>`. sampling: settled
    settings. random: where each step's noise comes from. max_steps: the row ends after so many.

    Raises:
        UserError: a prompt of another shape or type, or no step.
    """

    prompt: NDArray[np.float32]
    sampling: SamplingDefaults
    random: np.random.Generator
    max_steps: int

    def __post_init__(self) -> None:
        prompt = self.prompt
        if prompt.dtype != np.float32 or prompt.ndim != 3 or len(prompt) != 1 or not prompt.size:
            raise UserError(
                f"the prompt is {prompt.dtype} {list(prompt.shape)}; give float32 "
                "[1, positions, hidden_size]"
            )
        if self.max_steps < 1:
            raise UserError(f"max_steps is {self.max_steps}; give 1 or more")

    @property
    def positions(self) -> int:
        """How many the prompt has."""
        return self.prompt.shape[1]


@dataclass(eq=False)
class Row:
    """A request that is being spoken. streams: codes of one frame. steps: how many were taken."""

    request: Request
    streams: int
    steps: int = 0
    ended: bool = False
    _codes: list[int] = field(default_factory=list)  # of a frame that is not complete yet

    def take(self, codes: Iterable[int], *, stop: bool) -> Step:
        """The codes of one step make frames; the rest waits for the next step."""
        self._codes.extend(codes)
        self.steps += 1
        self.ended = stop or self.steps == self.request.max_steps
        whole = len(self._codes) - len(self._codes) % self.streams
        frames = np.array(self._codes[:whole], np.int64).reshape(-1, self.streams)
        del self._codes[:whole]
        return Step(self, frames, stop)


class Step(NamedTuple):
    """What one step brings to one row.

    frames: int64 [k, K]; k is the frames of a step, fewer at the end of speech, and 0 or 1 for a
    next-token model. stop: the model ended the utterance.
    """

    row: Row
    frames: NDArray[np.int64]
    stop: bool


class RowLoop(ABC):
    """Backbone and head, taking turns, for up to `room` rows. One thread at a time may use it.

    positions_a_step: how much of the prompts is read before a step at most, so that rows that have
    begun are not held up for long; None: all. Engines that cannot read a prompt in parts read all.
    pauses_freely: pausing a row costs nothing; else what it has read is copied.
    """

    positions_a_step: int | None = None
    pauses_freely = False

    def __init__(self, room: int, streams: int) -> None:
        self.room = room
        self._closed = False
        self._streams = streams
        self._slots: list[Row] = []  # rows that have begun; the index is the slot
        self._waiting: list[Row] = []  # rows that begin with the next step
        self._paused: dict[Row, Any] = {}  # with what `_park` returned

    @property
    def rows(self) -> list[Row]:
        """The live rows."""
        return [*self._slots, *self._paused, *self._waiting]

    @property
    def stepping(self) -> int:
        """How many rows the next step advances; those that begin with it are not counted."""
        return len(self._slots)

    def add(self, request: Request) -> Row:
        """Let a row join. Its first step, which reads the prompt, comes with the next `step`.

        Raises:
            UserError: no room is left, or the loop is closed.
        """
        if self._closed:
            raise UserError("this loop is closed; open another with open_rows()")
        if len(self.rows) == self.room:
            raise UserError(
                f"{self.room} texts are being spoken side by side, and this loop has no room for "
                "more; let one end first, or open a loop with more room"
            )
        row = Row(request, self._streams)
        self._waiting.append(row)
        return row

    def step(self) -> list[Step]:
        """Advance every live row that is not paused by one step. Rows that end with it have left
        afterwards."""
        begun, self._waiting = self._waiting, []
        steps = self._advance(begun)
        for step in steps:
            if step.row.ended:
                self.remove(step.row)
        return steps

    def remove(self, row: Row) -> None:
        """Let a row leave before its end. A row that has left already is ignored."""
        if row in self._waiting:
            self._waiting.remove(row)
        elif row in self._paused:
            del self._paused[row]
        elif row in self._slots:
            self._leave_slot(row)
        row.ended = True

    def pause(self, row: Row) -> None:
        """Leave a row out of the steps until `resume`; it keeps its place, and its codes do not
        depend on that. A step that is under way may still come. A row whose first step has not
        come is not paused, and one that is paused already stays so."""
        if row in self._slots:
            self._paused[row] = self._park(row, self._slots.index(row))
            self._leave_slot(row)

    def resume(self, row: Row) -> None:
        """Let a paused row step again; another one is ignored."""
        if row in self._paused:
            self._unpark(row, len(self._slots), self._paused.pop(row))
            self._slots.append(row)

    def close(self) -> None:
        """End all work. No row can join afterwards."""
        self._closed = True
        for row in self.rows:
            self.remove(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _leave_slot(self, row: Row) -> None:
        slot, last = self._slots.index(row), self._slots.pop()
        if last is not row:
            self._slots[slot] = last
            self._move(len(self._slots), slot)

    @abstractmethod
    def _advance(self, begun: list[Row]) -> list[Step]:
        """One step of the rows in `_slots`, and the first one of those in `begun`.

        The latter get the next slots. Rows whose prompts are not read yet go back to `_waiting`.
        """

    @abstractmethod
    def _move(self, source: int, target: int) -> None:
        """Move the row in slot `source` to slot `target`."""

    @abstractmethod
    def _park(self, row: Row, slot: int) -> Any:
        """What the row in `slot` has read and settled, to be kept while others use the slot."""

    @abstractmethod
    def _unpark(self, row: Row, slot: int, parked: Any) -> None:
        """Put it into a free slot, to be stepped from there."""


def head_settings(head: GraphSpec, sampling: SamplingDefaults) -> dict[str, float]:
    """The head's inputs that stay the same for a row. `top_k` is at most the head's entries."""
    entries = next(tensor for tensor in head.inputs if tensor.name == names.PAST_SEEN).shape[-1]
    assert isinstance(entries, int)
    return {
        names.TEMPERATURE: sampling.temperature,
        names.TOP_K: min(sampling.top_k, entries),
        names.TOP_P: sampling.top_p,
        names.REPETITION_PENALTY: sampling.repetition_penalty,
    }
