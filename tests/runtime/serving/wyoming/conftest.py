"""A server that speaks Wyoming on a free port, and callers of it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import pytest
from wyoming.client import AsyncTcpClient
from wyoming.event import Event

from runtime.scheduling.limits import SchedulerLimits
from runtime.scheduling.scheduler import Scheduler
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import Served, until

T = TypeVar("T")


class Speaker(Served):
    """port: of Wyoming. stop: tells the server to end."""

    port: int
    stop: Callable[[], None]


@contextmanager
def speaking(
    tts: TTS,
    limits: SchedulerLimits | None = None,
    *,
    send_bytes: int | None = None,
    **settings: Any,
) -> Iterator[Speaker]:
    """send_bytes: that the system keeps for a caller who does not read."""
    from runtime.serving.app import make_app
    from runtime.serving.server import ConnectionLimits, SpeechServer, open_socket, url_of
    from runtime.serving.settings import ServerSettings
    from runtime.serving.speaking import Phase

    given: dict[str, Any] = {"warm_up_text": "Abc.", "language": "en-US"} | settings
    with (
        Scheduler(tts, limits or SchedulerLimits(rows=4)) as scheduler,
        open_socket("127.0.0.1", 0) as listening,
        open_socket("127.0.0.1", 0) as wyoming,
    ):
        if send_bytes:
            wyoming.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
        app = make_app(scheduler, ServerSettings(drain_seconds=20, **given), wyoming)
        server = SpeechServer(app, ConnectionLimits(drain_seconds=20))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        speaker = Speaker(url_of(listening), scheduler, app)
        speaker.port = wyoming.getsockname()[1]
        speaker.stop = lambda: setattr(server, "should_exit", True)
        try:
            until(lambda: app.state.speaking.phase is not Phase.WARMING_UP)
            yield speaker
        finally:
            server.should_exit = True
            thread.join(120)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def speaker(tts: TTS) -> Iterator[Speaker]:
    with speaking(tts) as server:
        yield server


@asynccontextmanager
async def calling(speaker: Speaker) -> AsyncIterator[AsyncTcpClient]:
    async with AsyncTcpClient("127.0.0.1", speaker.port) as client:
        yield client


async def hear(client: AsyncTcpClient, until: str = "audio-stop") -> tuple[list[str], bytes]:
    """Kinds of events up to one of this kind or the end, and the audio in them."""
    kinds: list[str] = []
    audio = b""
    while not kinds or kinds[-1] != until:
        event = await asyncio.wait_for(client.read_event(), 60)
        if event is None:
            kinds.append("(end)")
            break
        if event.type == "audio-chunk":
            audio += event.payload or b""
            if kinds[-1:] == ["audio-chunk"]:
                continue
        kinds.append(event.type)
    return kinds, audio


async def next_event(client: AsyncTcpClient) -> Event | None:
    return await asyncio.wait_for(client.read_event(), 60)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)
