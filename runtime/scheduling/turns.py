"""What the engine does next, and for whom: the turns of the thread that owns it.

In: speeches that have begun, and a way to begin one that waits. Out: chunks, put into the speeches.
A turn begins sentences, steps their rows and decodes chunks that are due. Who has the least to play
goes first. While somebody has hardly anything, the engine works for those alone: the others have
audio to play meanwhile. It knows no queue and no threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from runtime.engines.rows import Row, RowLoop
from runtime.scheduling.limits import SchedulerLimits
from runtime.scheduling.live_speech import SCARCE_SECONDS, LiveSpeech
from runtime.scheduling.pace import Pace
from runtime.scheduling.speech import State

CODEC_SECONDS_A_TURN = 0.02  # then the rows take a step
AMPLE_SECONDS = 0.5  # who has more waits while somebody has scarcely any
LITTLE_SECONDS = 0.3  # while somebody has less, nobody begins on a busy machine
SAFE_SECONDS = 1.0  # if all listeners have as much, one more may begin at any load

Admit = Callable[[], LiveSpeech | None]


class Turns:
    """Used by the engine's thread alone. `live` belongs to the caller, who adds and removes.

    pace: whether one more stays in real time. Without loads in the limits there are no listeners
    to hurry for, as when files are made, and all rows step at all times.
    """

    def __init__(
        self, live: list[LiveSpeech], limits: SchedulerLimits, pace: Pace, admit: Admit
    ) -> None:
        """admit: makes a text that waits one of the live ones, if there is one."""
        self._live, self._limits = live, limits
        self.pace = pace
        self._admit = admit

    def can_work(self) -> bool:
        """Whether there is anything to do for those who have begun."""
        return any(
            (live.row is not None or live.has_work or live.needs_row) and self.has_room(live)
            for live in self._live
        )

    def has_room(self, live: LiveSpeech) -> bool:
        """Whether its listener takes what is made."""
        return live.speech.held_seconds < self._limits.held_seconds

    def take(self, loop: RowLoop) -> None:
        """One turn."""
        start = time.monotonic()
        self._begin_sentences(loop)
        self._pause_those_who_can_wait(loop)
        rows = self._step(loop)
        self._decode(loop)
        self.pace.note(rows, time.monotonic() - start)

    def drop(self, loop: RowLoop, live: LiveSpeech, state: State, reason: str) -> None:
        """End a speech early, and free its row."""
        if live.row is not None:
            loop.remove(live.row)
            live.row = None
        live.end(state, reason)

    def _begin_sentences(self, loop: RowLoop) -> None:
        """Give rows to sentences that can begin, until there are prompts enough for one turn: one,
        if it is not known how many hold up the others for too long."""
        room = self._limits.prompt_positions or 1
        room -= sum(row.request.positions for row in loop.rows if not row.steps)
        while room > 0 and (live := self._next_to_begin()):
            self._begin(loop, live)
            room -= live.row.request.positions if live.row else 0

    def _next_to_begin(self) -> LiveSpeech | None:
        """The next sentence of a listener who will soon need it, or a new text, or the next
        sentence of somebody who can wait."""
        now = time.monotonic()
        able = [live for live in self._by_need() if live.needs_row and self.has_room(live)]
        if able and able[0].seconds_left(now) < AMPLE_SECONDS:
            return able[0]
        if not self._is_full() and (new := self._admit()):
            return new
        return able[0] if able and not self._is_urgent() else None

    def _begin(self, loop: RowLoop, live: LiveSpeech) -> None:
        """A request that cannot be made fails its own speech only."""
        try:
            live.row = loop.add(live.begin_sentence())
        except Exception as error:  # of this text, voice or memory
            live.end(State.FAILED, str(error))

    def _is_full(self) -> bool:
        """Whether one more would leave the others without audio. Those who have plenty do not
        mind; and while the machine is busy, those who have little get more first."""
        speaking = [live for live in self._live if live.row is not None and self.has_room(live)]
        now = time.monotonic()
        least = min((live.seconds_left(now) for live in speaking), default=SAFE_SECONDS)
        streams = len(speaking) + 1
        if least < LITTLE_SECONDS and self.pace.is_busy(streams):
            return True
        return least < SAFE_SECONDS and self.pace.is_full(streams)

    def _is_urgent(self) -> bool:
        """Whether somebody who has hardly anything to play can be worked for."""
        now = time.monotonic()
        return bool(self._limits.loads) and any(
            (live.row is not None or live.has_work)
            and live.seconds_left(now) < SCARCE_SECONDS
            and self.has_room(live)
            for live in self._live
        )

    def _pause_those_who_can_wait(self, loop: RowLoop) -> None:
        """Listeners who take nothing; and those with ample audio, if somebody has hardly any and
        the engine gains by it."""
        now = time.monotonic()
        is_urgent = loop.pauses_freely and self._is_urgent()
        for live in self._live:
            if live.row is None:
                continue
            can_wait = is_urgent and live.seconds_left(now) >= AMPLE_SECONDS
            if can_wait or not self.has_room(live):
                loop.pause(live.row)
            else:
                loop.resume(live.row)

    def _step(self, loop: RowLoop) -> int:
        """How many rows took one."""
        owner: dict[Row, LiveSpeech] = {live.row: live for live in self._live if live.row}
        steps = loop.step() if owner else []
        for step in steps:
            owner[step.row].take(step)
        return len(steps)

    def _decode(self, loop: RowLoop) -> None:
        """Chunks that are due, the emptiest listener's first, until the time is used up."""
        now = time.monotonic()
        end = now + CODEC_SECONDS_A_TURN
        is_urgent = self._is_urgent()
        for live in self._by_need():
            if is_urgent and live.seconds_left(now) >= SCARCE_SECONDS:
                return
            live.hurry(time.monotonic())
            while live.has_work and self.has_room(live) and not live.speech.is_cancelled:
                try:
                    live.make_chunk()
                except Exception as error:  # of this stream
                    self.drop(loop, live, State.FAILED, f"the codec failed: {error}")
                if time.monotonic() > end:
                    return

    def _by_need(self) -> Iterator[LiveSpeech]:
        now = time.monotonic()
        yield from sorted(self._live, key=lambda live: live.seconds_left(now))
