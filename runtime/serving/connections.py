"""Connections with bounds: how many there are, and how long one may take to say what it wants.

In: bytes of clients. Out: what uvicorn makes of them. Uvicorn has no clock for a request's headers
and none for a connection that says nothing; and an application cannot end a connection at once,
which it must in the middle of a speech that failed (`slm.abort`).
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Any

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from runtime.serving.errors import RequestFailed, error_response
from runtime.serving.speech_response import ABORT

FLUSH_SECONDS = 5.0  # for what is under way to a client who reads slowly
NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


def bounded_protocol(max_connections: int, header_seconds: float) -> type[H11Protocol]:
    """The class for uvicorn's `http=`, which makes its connections itself."""
    bounds = {"max_connections": max_connections, "header_seconds": header_seconds}
    return type("BoundedProtocol", (BoundedProtocol,), bounds)


class BoundedProtocol(H11Protocol):
    """What all connections share is in `bounded_protocol`."""

    max_connections: int
    header_seconds: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clock: asyncio.TimerHandle | None = None
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[ABORT] = {"abort": self._abort}
            try:
                await inner(scope, receive, send)
            except asyncio.CancelledError:  # the server ends, and waits no longer
                await self._abort()

        self.app = app

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._watch_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def _watch_headers(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_clock()
        elif self._clock is None:
            self._clock = self.loop.call_later(self.header_seconds, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP: in the shape of all errors, if an answer can still be sent."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        answer = error_response(RequestFailed(400, msg, code="invalid_http"))
        headers = [*answer.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    async def _abort(self) -> None:
        """A body of chunks has no end without its last chunk, so what was said can still be
        sent. Without chunks, only a reset tells the client."""
        self.cycle.disconnected = True  # uvicorn must not end the body itself
        if self.scope["http_version"] == "1.0":
            listening = self.transport.get_extra_info("socket")
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self.transport.abort()
            return
        self.transport.close()
        self.loop.call_later(FLUSH_SECONDS, self.transport.abort)
