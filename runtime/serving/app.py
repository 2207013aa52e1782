"""The application of a server: routes, and what stands before them.

In: a scheduler, settings. Out: an ASGI application that any server can run. Whoever made the
scheduler ends it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import WebSocketRoute

from runtime.scheduling.scheduler import Scheduler
from runtime.serving.batch.routes import batch_routes
from runtime.serving.errors import REFUSED, RequestFailed, error_response
from runtime.serving.guards import Guard
from runtime.serving.health import health_routes
from runtime.serving.metrics import Metrics
from runtime.serving.page_routes import page_routes
from runtime.serving.piper.routes import piper_routes
from runtime.serving.settings import ServerSettings
from runtime.serving.speaking import Phase, Speaking
from runtime.serving.speech_routes import speech_routes
from runtime.serving.voices.registry import VoiceRegistry
from runtime.serving.voices.routes import voice_routes
from runtime.serving.websocket.routes import websocket_routes

if TYPE_CHECKING:
    from runtime.serving.riva.server import RivaServer
    from runtime.serving.wyoming.server import WyomingServer


def make_app(
    scheduler: Scheduler,
    settings: ServerSettings | None = None,
    wyoming: socket.socket | None = None,
    riva: socket.socket | None = None,
) -> Starlette:
    """The application; `app.state.speaking` is what its protocols share.

    wyoming: listens for callers of that protocol, who are answered while the application runs.
    riva: holds the port of gRPC until the server, which starts it, does.

    Raises:
        UserError: a damaged file among the uploaded voices.
    """
    settings = settings or ServerSettings()
    voices = VoiceRegistry(scheduler.tts, settings.voices_folder, settings.max_voices)
    speaking, metrics = Speaking(scheduler, voices, settings), Metrics(scheduler)
    app = Starlette(
        routes=[
            *page_routes(),
            *speech_routes(speaking, metrics),
            *batch_routes(speaking, metrics),
            *voice_routes(voices, settings.max_upload_bytes),
            *websocket_routes(speaking, metrics),
            *piper_routes(speaking, metrics),
            *health_routes(speaking, metrics),
        ],
        middleware=_middleware(settings, metrics),
        exception_handlers={
            HTTPException: _answer_http,
            Exception: _answer,
            **dict.fromkeys(REFUSED, _answer),
        },
        lifespan=_lifespan,
    )
    app.state.speaking, app.state.metrics = speaking, metrics
    app.state.wyoming = None if wyoming is None else _wyoming(wyoming, speaking, metrics)
    app.state.riva = None if riva is None else _riva(riva, speaking, metrics)
    return app


def _wyoming(listening: socket.socket, speaking: Speaking, metrics: Metrics) -> WyomingServer:
    from runtime.serving.wyoming.server import WyomingServer  # only for who wants it

    return WyomingServer(listening, speaking, metrics)


def _riva(holding: socket.socket, speaking: Speaking, metrics: Metrics) -> RivaServer:
    from runtime.serving.riva.server import RivaServer  # only for who wants it

    return RivaServer(holding, speaking, metrics)


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    speaking: Speaking = app.state.speaking
    warming = asyncio.create_task(speaking.warm_up())
    wyoming: WyomingServer | None = app.state.wyoming
    if wyoming is not None:
        await wyoming.start()
    with suppress(asyncio.CancelledError):  # of a second Ctrl-C, which waits for nobody
        yield
        speaking.phase = Phase.ENDING
        await _let_be_said(app)
    warming.cancel()
    speaking.close()


async def _let_be_said(app: Starlette) -> None:
    """What protocols beside HTTP have begun."""
    wyoming: WyomingServer | None = app.state.wyoming
    if wyoming is not None:
        await wyoming.close(app.state.speaking.settings.drain_seconds)
    riva: RivaServer | None = app.state.riva
    if riva is not None:
        await riva.close()


def _middleware(settings: ServerSettings, metrics: Metrics) -> list[Middleware]:
    guard = Middleware(Guard, settings=settings, metrics=metrics)
    if not settings.origins:
        return [guard]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type"],
    )
    return [cors, guard]  # a browser asks whether it may ask, without a key


async def _answer(_: Request, error: Exception) -> Response:
    return error_response(error)


async def _answer_http(request: Request, error: Exception) -> Response:
    """A path or method that there is not, or a form that cannot be read."""
    assert isinstance(error, HTTPException)
    status, message, headers = error.status_code, error.detail, error.headers or {}
    asked = f"{request.method} {request.scope['path'][:64]!r}"
    if status == 404:
        message = f"there is no {asked} here; speech is at POST /v1/audio/speech"
        if _is_websocket(request):
            message = f"{asked} is no WebSocket; open one, and let proxies pass on Upgrade"
    elif status == 405:
        message = f"there is no {asked} here; this path takes {headers.get('Allow', 'others')}"
    response = error_response(RequestFailed(status, message, code="http_error"))
    response.headers.update(headers)
    return response


def _is_websocket(request: Request) -> bool:
    """Whether the path is one of a WebSocket, for which nobody asked."""
    path = request.scope["path"]
    return any(isinstance(r, WebSocketRoute) and r.path == path for r in request.app.routes)
