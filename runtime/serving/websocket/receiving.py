"""Messages of one WebSocket as they come, and the clocks beside them.

In: ASGI messages. Out: texts; None when a caller pauses. It ends a session that has been idle for
too long. It does not know what messages mean.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from runtime.serving.errors import RequestFailed

ENDING = "slm.ending"  # extension of the scope: an event, set when the server is told to end
CONFIG_SECONDS = 10.0  # for the first message
PAUSE_SECONDS = 0.5  # without text: a sentence that looks complete is


class Closing(Exception):
    """The session ends. code: of the WebSocket's close; None: it was cut already. is_told: the
    reason has been sent as an event."""

    def __init__(self, code: int | None, reason: str = "", *, is_told: bool = False) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason
        self.is_told = is_told or code in (None, 1000)


class Incoming:
    """Of one session. is_busy: whether the session speaks, so that nobody need say anything.
    may_pause: whether text has come that a pause could complete."""

    def __init__(
        self,
        socket: WebSocket,
        idle_seconds: float,
        is_busy: Callable[[], bool],
        may_pause: Callable[[], bool],
    ) -> None:
        self._socket, self._idle_seconds = socket, idle_seconds
        self._is_busy, self._may_pause = is_busy, may_pause
        self._message: asyncio.Task[Message] | None = None
        ending: asyncio.Event = socket.scope.get("extensions", {}).get(ENDING) or asyncio.Event()
        self._ending = asyncio.create_task(ending.wait())
        self._is_first, self._has_paused, self._has_ended = True, False, False
        self._last_news = time.monotonic()

    async def next(self) -> str | None:
        """The next message. None: a pause, or the server is about to end.

        Raises:
            RequestFailed: a message that is no text.
            WebSocketDisconnect: the caller has left.
            Closing: the caller has said nothing for too long.
        """
        while True:
            self._message = self._message or asyncio.create_task(self._socket.receive())
            waited = {self._message} if self._has_ended else {self._message, self._ending}
            await asyncio.wait(
                waited, timeout=self._patience(), return_when=asyncio.FIRST_COMPLETED
            )
            if self._message.done():
                return self._take(self._message)
            if self._ending.done() and not self._has_ended:
                self._has_ended = True
                return None
            if self._is_overdue():
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

    def _take(self, message: asyncio.Task[Message]) -> str:
        self._message = None
        content = message.result()
        if content["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(content.get("code", 1006))
        self.touch()
        self._is_first = self._has_paused = False
        text = content.get("text")
        if not isinstance(text, str):
            raise RequestFailed(400, "messages must be text, not binary", code="invalid_type")
        return text

    def _patience(self) -> float:
        limit = PAUSE_SECONDS
        if self._is_first:
            limit = CONFIG_SECONDS
        elif self._has_paused or not self._may_pause():
            limit = self._idle_seconds
        return max(0.01, self._last_news + limit - time.monotonic())

    def _is_overdue(self) -> bool:
        """Whether it is a pause. Raises `Closing` if it is too long for one."""
        silent_seconds = time.monotonic() - self._last_news
        if self._is_first:
            if silent_seconds >= CONFIG_SECONDS:
                raise Closing(1008, f"no session.config came within {CONFIG_SECONDS:.0f} s")
            return False
        if self._may_pause() and not self._has_paused and silent_seconds >= PAUSE_SECONDS:
            return True
        if self._is_busy():
            self.touch()
        elif silent_seconds >= self._idle_seconds:
            raise Closing(1001, f"no message came within {self._idle_seconds:.0f} s")
        return False
