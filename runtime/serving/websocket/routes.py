"""`/v1/audio/speech/stream`: the WebSocket.

In: requests to open one. Out: sessions, as many as there may be, or an answer that says why not.
"""

from __future__ import annotations

import asyncio

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from runtime.serving.errors import RequestFailed
from runtime.serving.guards import refuse
from runtime.serving.metrics import Metrics
from runtime.serving.speaking import Speaking
from runtime.serving.speech_response import abort
from runtime.serving.websocket.session import Session


def websocket_routes(speaking: Speaking, metrics: Metrics) -> list[WebSocketRoute]:
    """The routes of a server."""
    running: set[WebSocket] = set()

    async def stream(socket: WebSocket) -> None:
        try:
            _check(speaking, len(running))
        except RequestFailed as error:
            await refuse(error, socket.scope, socket.receive, socket.send)
            return
        running.add(socket)
        try:
            await socket.accept()
            await Session(socket, speaking, metrics).run()
        except asyncio.CancelledError:  # the server has waited long enough for its end
            await abort(socket.scope)
        finally:
            running.discard(socket)

    return [WebSocketRoute("/v1/audio/speech/stream", stream)]


def _check(speaking: Speaking, running: int) -> None:
    """Raises `RequestFailed` if there can be no session now."""
    speaking.require_ready()
    if running >= speaking.settings.max_sessions:
        message = f"{running} WebSockets are open; try again"
        raise RequestFailed(429, message, code="too_many_sessions", retry_after_seconds=1)
