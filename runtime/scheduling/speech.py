"""One text on its way to one listener, between the engine's thread and whoever takes the chunks.

In: chunks, put in by the scheduler. Out: the same chunks, in order, to one consumer, by waiting for
them or by asking again when told; and how it ended. It knows neither engines nor networks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from runtime.speech.schedule import ChunkSchedule
from runtime.speech.spoken import Chunk
from runtime.speech.synthesis import Task

Notify = Callable[[], None]


class State(Enum):
    """Where a speech is. The last four are ends."""

    WAITING = "waiting"
    SPEAKING = "speaking"
    DONE = "done"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # it waited longer than its deadline
    FAILED = "failed"

    @property
    def is_end(self) -> bool:
        return self not in (State.WAITING, State.SPEAKING)


@dataclass(frozen=True)
class Order:
    """What is asked for. deadline_seconds: it may wait so long before it begins; None: for ever.
    follows: it goes on what somebody hears already, so it is not refused, and waits before others.
    """

    task: Task
    schedule: ChunkSchedule
    deadline_seconds: float | None = None
    follows: bool = False


class SpeechFailed(Exception):
    """The rest of a speech does not come. state: why it ended. What was handed out is not whole."""

    def __init__(self, state: State, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason


class Speech:
    """Made by `Scheduler.submit`. One consumer takes its chunks; anyone may cancel it.

    Times are of `time.monotonic`.
    """

    def __init__(self, number: int, order: Order, wake: Notify) -> None:
        self.number = number
        self.order = order
        self.submitted = time.monotonic()
        self.began: float | None = None  # its first sentence took a row
        self.first_audio: float | None = None
        self.audio_seconds = 0.0  # handed out by the engine
        self._player_began = 0.0  # later by as long as it stood still
        self._state, self._reason = State.WAITING, ""
        self._chunks: deque[Chunk] = deque()
        self._held_seconds = 0.0  # in `_chunks`
        self._last_taken = self.submitted
        self._changed = threading.Condition()
        self._wake = wake
        self._notify: Notify = lambda: None
        self._is_cancelled = False

    # For the listener.

    def __iter__(self) -> Iterator[Chunk]:
        """The chunks, waiting for each. Raises `SpeechFailed` if the rest does not come."""
        while (chunk := self.take(wait=True)) is not None:
            yield chunk

    def take(self, *, wait: bool = False) -> Chunk | None:
        """The next chunk; None if there is none yet (or, with `wait`, no more).

        Raises:
            SpeechFailed: it ended before its end.
        """
        with self._changed:
            while wait and not self._chunks and not self._state.is_end:
                self._changed.wait()
            if not self._chunks:
                if self._state.is_end and self._state is not State.DONE:
                    raise SpeechFailed(self._state, self._reason)
                return None
            chunk = self._chunks.popleft()
            self._held_seconds -= len(chunk.audio) / chunk.sample_rate
            self._last_taken = time.monotonic()
        self._wake()
        return chunk

    def on_change(self, notify: Notify) -> None:
        """Call `notify` from the engine's thread whenever there is a chunk or an end."""
        with self._changed:
            self._notify = notify
        self._tell()

    def cancel(self) -> None:
        """The listener has left: nothing more is made for it. An ended speech stays as it is."""
        self._is_cancelled = True
        self._wake()

    @property
    def is_over(self) -> bool:
        """Whether it has ended and every chunk was taken."""
        with self._changed:
            return self._state.is_end and not self._chunks

    @property
    def state(self) -> State:
        return self._state

    @property
    def reason(self) -> str:
        """Why it ended, in words; empty while it lasts, and if all was said."""
        return self._reason

    # For the scheduler.

    @property
    def is_cancelled(self) -> bool:
        return self._is_cancelled

    @property
    def held_seconds(self) -> float:
        """Of audio that the listener has not taken."""
        with self._changed:
            return self._held_seconds

    def idle_seconds(self, now: float) -> float:
        """For how long the listener has left chunks lying; 0 if there are none."""
        with self._changed:
            return now - self._last_taken if self._chunks else 0.0

    def spare_seconds(self, now: float) -> float:
        """How far ahead of a player that began with the first chunk the audio is. A player that
        has played all stands still until the next chunk."""
        if self.first_audio is None:
            return 0.0
        return self.audio_seconds - (now - self._player_began)

    def begin(self) -> None:
        self._state, self.began = State.SPEAKING, time.monotonic()

    def put(self, chunk: Chunk) -> None:
        """Hand out a chunk."""
        seconds = len(chunk.audio) / chunk.sample_rate
        now = time.monotonic()
        with self._changed:
            if not self._chunks:
                self._last_taken = now
            if self.first_audio is None and seconds > 0:
                self.first_audio = self._player_began = now
            elif (behind := -self.spare_seconds(now)) > 0:
                self._player_began += behind
            self.audio_seconds += seconds
            self._held_seconds += seconds
            self._chunks.append(chunk)
            self._changed.notify_all()
        self._tell()

    def end(self, state: State, reason: str = "") -> None:
        """The first end counts. What was cut off is not handed out: it would sound whole."""
        with self._changed:
            if self._state.is_end:
                return
            self._state, self._reason = state, reason
            if state is State.CANCELLED:
                self._chunks.clear()
                self._held_seconds = 0.0
            self._changed.notify_all()
        self._tell()

    def _tell(self) -> None:
        """A listener that cannot be told has left, and others must not suffer by it."""
        try:
            self._notify()
        except Exception:  # such as of an event loop that was closed
            self._is_cancelled = True
