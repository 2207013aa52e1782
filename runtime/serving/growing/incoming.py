"""Messages of one caller as they come, and the clocks beside them.

In: a function that waits for a message. Out: messages; None when a caller pauses. It says when a
caller has been silent for too long. It does not know what messages are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

PAUSE_SECONDS = 0.5  # without text: a sentence that looks complete is
T = TypeVar("T")


class Silent(Exception):
    """The caller has said nothing for too long. is_first: it has said nothing at all."""

    def __init__(self, seconds: float, *, is_first: bool) -> None:
        super().__init__(f"no message came within {seconds:g} s")
        self.is_first = is_first


class Incoming(Generic[T]):
    """Of one caller.

    receive: waits for a message. ending: is set when the server is told to end. first_seconds,
    idle_seconds: for the first message, and for others. is_busy: whether somebody speaks to the
    caller, who need not say anything then. may_pause: whether a pause could complete a sentence.
    """

    def __init__(
        self,
        receive: Callable[[], Coroutine[Any, Any, T]],
        ending: asyncio.Event,
        first_seconds: float,
        idle_seconds: float,
        is_busy: Callable[[], bool],
        may_pause: Callable[[], bool],
    ) -> None:
        self._receive = receive
        self._first_seconds, self._idle_seconds = first_seconds, idle_seconds
        self._is_busy, self._may_pause = is_busy, may_pause
        self._message: asyncio.Task[T] | None = None
        self._ending = asyncio.create_task(ending.wait())
        self._is_first, self._has_paused, self._has_ended = True, False, False
        self._last_news = time.monotonic()

    async def next(self) -> T | None:
        """The next message. None: a pause, or the server is about to end (once).

        Raises:
            Silent: nothing came for too long.
            Exception: what `receive` raises.
        """
        while True:
            self._message = self._message or asyncio.create_task(self._receive())
            waited: set[asyncio.Task[Any]] = {self._message}
            if not self._has_ended:
                waited.add(self._ending)
            patience = self._patience()
            await asyncio.wait(waited, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if self._message.done():
                return self._take(self._message)
            if self._ending.done() and not self._has_ended:
                self._has_ended = True
                return None
            if self._is_pause():
                self._has_paused = True
                return None

    @property
    def is_ending(self) -> bool:
        return self._has_ended

    def touch(self) -> None:
        """Something has happened."""
        self._last_news = time.monotonic()

    def close(self) -> None:
        self._ending.cancel()
        if self._message is not None:
            self._message.cancel()
            self._message.add_done_callback(_forget)

    def _take(self, message: asyncio.Task[T]) -> T:
        self._message = None
        self._is_first = self._has_paused = False
        self.touch()
        return message.result()

    def _patience(self) -> float:
        limit = self._idle_seconds
        if self._is_first:
            limit = self._first_seconds
        elif self._may_pause() and not self._has_paused:
            limit = PAUSE_SECONDS
        return max(0.01, self._last_news + limit - time.monotonic())

    def _is_pause(self) -> bool:
        """Raises `Silent` if it is too long for one."""
        seconds = time.monotonic() - self._last_news
        if self._may_pause() and not self._has_paused and seconds >= PAUSE_SECONDS:
            return True
        limit = self._first_seconds if self._is_first else self._idle_seconds
        if self._is_busy():
            self.touch()
        elif seconds >= limit:
            raise Silent(limit, is_first=self._is_first)
        return False


def _forget(message: asyncio.Task[Any]) -> None:
    """Nobody asks any more how it ended, and asyncio would log that."""
    if not message.cancelled():
        message.exception()
