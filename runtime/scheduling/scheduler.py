"""Speaks many texts at once: one thread owns the engine, and everyone else orders from it.

In: orders, from any thread. Out: a `Speech` for each, whose chunks come while others are spoken.

Texts join and leave between steps (continuous batching), new ones only while all stay in real time
(`runtime.scheduling.pace`). What is done next, and for whom, `runtime.scheduling.turns` decides. A
listener who does not take its chunks is paused, and in the end given up. Rows do not depend on each
other, so a seed gives the same samples in any company.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque

from runtime.engines.rows import RowLoop
from runtime.scheduling.limits import Load, Overloaded, SchedulerLimits, ShuttingDown
from runtime.scheduling.live_speech import LiveSpeech
from runtime.scheduling.pace import Pace
from runtime.scheduling.speech import Order, Speech, State
from runtime.scheduling.turns import Turns
from runtime.speech.synthesis import TTS


class Scheduler:
    """Start it with `with`, or end it with `close`."""

    def __init__(self, tts: TTS, limits: SchedulerLimits) -> None:
        self.tts = tts
        self.limits = limits
        self._numbers = itertools.count(1)
        self._orders = threading.Condition()
        self._waiting: deque[Speech] = deque()
        self._live: list[LiveSpeech] = []
        self._is_open, self._has_left = True, False
        self._has_news = False
        self._service_seconds = 1.0  # that a text takes of its row: a moving mean
        manifest = tts.bundle.manifest
        audio_a_turn = manifest.frames_per_step / manifest.codec.frames_per_second
        pace = Pace(limits.loads, audio_a_turn)
        self._turns = Turns(self._live, limits, pace, self._admit)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, order: Order) -> Speech:
        """Take an order. Whoever orders what follows has one such order at a time.

        Raises:
            Overloaded: too many are waiting.
            ShuttingDown: after `close`.
        """
        with self._orders:
            self._require_room(order.follows)
            speech = Speech(next(self._numbers), order, self._wake)
            following = sum(other.order.follows for other in self._waiting)
            self._waiting.insert(following if order.follows else len(self._waiting), speech)
            self._has_news = True
            self._orders.notify_all()
        return speech

    def check_room(self) -> None:
        """Raise what `submit` would, before a text is read for it."""
        with self._orders:
            self._require_room()

    def load(self) -> Load:
        """Of this moment."""
        with self._orders:
            return Load(*self._count_lasting(), self.limits.rows)

    @property
    def is_alive(self) -> bool:
        """Whether the engine's thread serves: until `close`, unless it died."""
        return not self._has_left

    def close(self, drain_seconds: float = 0.0) -> None:
        """Take no more orders, let those that are there go on for so long, and end."""
        with self._orders:
            self._is_open = False
        self._wake()
        self._thread.join(drain_seconds)
        for speech in self._all():
            speech.cancel()
        self._thread.join()

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wake(self) -> None:
        with self._orders:
            self._has_news = True
            self._orders.notify_all()

    def _all(self) -> list[Speech]:
        with self._orders:
            return [*self._waiting, *(live.speech for live in self._live)]

    def _require_room(self, follows: bool = False) -> None:
        if not self._is_open:
            raise ShuttingDown("this server is about to end; try another one")
        if not follows and sum(self._count_lasting()) >= self.limits.places:
            raise Overloaded(self._estimate_wait())

    def _count_lasting(self) -> tuple[int, int]:
        """How many wait, and how many are spoken. Who was told the end of a speech finds its place
        free, though the engine's thread has not come to remove it."""
        waiting = sum(not speech.state.is_end for speech in self._waiting)
        return waiting, sum(not live.speech.state.is_end for live in self._live)

    def _estimate_wait(self) -> int:
        """Seconds until all that wait have begun, if texts take as long as before."""
        turns = (len(self._waiting) + 1) / self.limits.rows
        return max(1, math.ceil(turns * self._service_seconds))

    # The engine's thread.

    def _run(self) -> None:
        try:
            while self._await_work():
                self._serve()
        finally:
            self._leave_nobody()

    def _leave_nobody(self) -> None:
        """Whatever ended the thread, nobody waits for it in vain."""
        with self._orders:  # at once, or an order between the two would be lost
            left = self._all()
            self._is_open, self._has_left = False, True  # before anybody is told
            self._waiting.clear()
            self._live.clear()
        for speech in left:
            speech.end(State.FAILED, "the engine's thread has ended")

    def _serve(self) -> None:
        """Speak until the end, or until the engine fails: all rows fail then, and others follow in
        new ones. If there are no rows to be had, those who wait fail."""
        try:
            with self.tts.decoder.open_rows(self.limits.rows) as loop:
                loop.positions_a_step = self.limits.prompt_positions
                self._take_turn(loop)
                while self._await_work():
                    self._take_turn(loop)
        except Exception as error:  # whatever an engine raises must not end the others' turn
            self._fail(f"the engine failed: {error}")

    def _take_turn(self, loop: RowLoop) -> None:
        self._drop_ended(loop)
        self._turns.take(loop)
        self._retire()

    def _fail(self, reason: str) -> None:
        """End those who are being spoken to, or else those who wait."""
        if self._live:
            for live in self._live:
                live.end(State.FAILED, reason)
            self._retire()
            return
        for speech in self._all():
            speech.end(State.FAILED, reason)
        self._forget_ended()

    def _await_work(self) -> bool:
        """Sleep until there is something to do. False: there never will be again."""
        with self._orders:
            while not (self._has_news or self._can_work() or self._is_over()):
                patience = self._seconds_to_deadline()
                if patience == 0.0:
                    break
                self._orders.wait(patience)
            self._has_news = False
            return not self._is_over()

    def _is_over(self) -> bool:
        return not (self._is_open or self._waiting or self._live)

    def _can_work(self) -> bool:
        can_begin = bool(self._waiting) and len(self._live) < self.limits.rows
        return can_begin or self._turns.can_work()

    def _seconds_to_deadline(self) -> float | None:
        """Until somebody has waited or dawdled for too long; None if nobody can."""
        now = time.monotonic()
        ends = [
            speech.submitted + speech.order.deadline_seconds - now
            for speech in self._waiting
            if speech.order.deadline_seconds is not None
        ]
        ends += [
            self.limits.slow_seconds - live.speech.idle_seconds(now)
            for live in self._live
            if not self._turns.has_room(live)
        ]
        return max(0.0, min(ends)) if ends else None

    def _drop_ended(self, loop: RowLoop) -> None:
        """Those that were cancelled, waited too long, or are not listened to."""
        now = time.monotonic()
        for live in self._live:
            speech = live.speech
            if speech.is_cancelled:
                self._turns.drop(loop, live, State.CANCELLED, "the listener has left")
            elif speech.idle_seconds(now) > self.limits.slow_seconds:
                reason = f"nothing was taken for {self.limits.slow_seconds:.0f} s"
                self._turns.drop(loop, live, State.CANCELLED, reason)
        self._retire()
        with self._orders:
            waiting = [*self._waiting]
        for speech in waiting:  # without the lock: listeners are told
            patience = speech.order.deadline_seconds
            if speech.is_cancelled:
                speech.end(State.CANCELLED, "the listener has left")
            elif patience is not None and now - speech.submitted >= patience:
                speech.end(State.EXPIRED, f"it waited for {patience:g} s")
        self._forget_ended()

    def _forget_ended(self) -> None:
        """Those that ended while they waited leave the queue."""
        with self._orders:
            self._waiting = deque(s for s in self._waiting if not s.state.is_end)

    def _admit(self) -> LiveSpeech | None:
        """The text that has waited the longest begins, if there is a row for it."""
        with self._orders:
            if not self._waiting or len(self._live) >= self.limits.rows:
                return None
            speech = self._waiting.popleft()
            live = LiveSpeech(self.tts, speech)
            self._live.append(live)
        speech.begin()
        return live

    def _retire(self) -> None:
        """Those that have said everything, or have ended otherwise, leave."""
        now = time.monotonic()
        for live in [*self._live]:
            if live.is_done:
                live.speech.end(State.DONE)
                seconds = now - (live.speech.began or now)
                self._service_seconds += 0.2 * (seconds - self._service_seconds)
                with self._orders:
                    self._live.remove(live)
