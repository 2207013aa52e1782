"""WebSocket connections with bounds, as uvicorn makes them.

In: bytes of clients. Out: ASGI messages of a WebSocket. Uvicorn answers pings of a client who reads
nothing, waits for ever for what such a client has not taken, and cuts everyone off when it ends;
here each of these has a bound. An application may cut a connection (`slm.abort`) and is told when
the server ends (`slm.ending`).
"""

from __future__ import annotations

import asyncio
from asyncio.transports import BaseTransport
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from runtime.serving.connections import FLUSH_SECONDS
from runtime.serving.speech_response import ABORT
from runtime.serving.websocket.session import ENDING

UNREAD_SECONDS = 60.0  # who plays while they read may have much left when all has been said


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """The class for uvicorn's `ws=`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = FLUSH_SECONDS  # for the client's part of the closing
        self._ending = asyncio.Event()

    def connection_made(self, transport: BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(_ClosingTransport(transport, self.loop))

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:  # the application has not begun yet
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[ABORT] = {"abort": self._abort}
            extensions[ENDING] = self._ending

    def handle_ping(self) -> None:
        """Answers must not pile up for a client who does not read them."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def shutdown(self) -> None:
        """The server ends: the application says what it still has to."""
        if self.handshake_complete and not self.close_sent:
            self._ending.set()
        else:
            super().shutdown()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True  # or uvicorn logs a refusal as a defect

    async def _abort(self) -> None:
        self.transport.abort()


class _ClosingTransport(asyncio.Transport):
    """A transport whose end does not wait for ever for a client to read what is left."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport, self._loop = transport, loop

    def close(self) -> None:
        if not self._transport.is_closing():
            self._loop.call_later(UNREAD_SECONDS, self._transport.abort)
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def write(self, data: Any) -> None:
        self._transport.write(data)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)
