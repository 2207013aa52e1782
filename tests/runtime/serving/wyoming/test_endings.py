"""The end of a server with Wyoming: one time for all protocols, and none after two Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import time
from types import SimpleNamespace
from typing import Any

import httpx2 as httpx
import pytest

from runtime.serving.wyoming import server as wyoming_server
from runtime.serving.wyoming.server import WyomingServer
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import until
from tests.runtime.serving.test_injected_failures import Server, failing

LONG = " ".join(["Abcdef abc."] * 2_000)  # at 3 ms a step, more than a minute
OPTIONS = ("--wyoming-port", "0", "--language", "en-US", "--drain", "60")


def test_what_http_took_of_the_drain_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(wyoming_server, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def end() -> None:
        nothing: Any = None
        server = WyomingServer(nothing, nothing, nothing)
        speaking = asyncio.create_task(asyncio.sleep(1_000))
        server._running.add(speaking)
        server.begin_ending()
        now[0] = 50.0
        await asyncio.wait_for(server.close(50.0), 20)
        assert speaking.cancelled()

    asyncio.run(end())


@pytest.mark.parametrize("protocol", ["http", "wyoming"])
def test_a_second_interrupt_waits_for_nobody(tts: TTS, protocol: str) -> None:
    with failing(tts, "nothing", 0, *OPTIONS) as server, _listening(server, protocol) as caller:
        assert caller.recv(100)
        until(lambda: server.load() == (1, 0))
        server.process.send_signal(signal.SIGINT)
        until(lambda: not _answers(server))
        time.sleep(0.5)  # it has begun to wait
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        server.process.wait(20)
    assert "Traceback" not in "\n".join(server.said), server.said
    assert server.said[-1] == "ended"


def _listening(server: Server, protocol: str) -> socket.socket:
    """Somebody who is spoken to for a long time."""
    body = {"input": LONG, "voice": "plain", "response_format": "pcm"}
    content, port = json.dumps(body).encode(), int(server.url.rpartition(":")[2])
    head = "POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\n"
    asked = f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
    if protocol == "wyoming":
        told = re.search(r"Wyoming on tcp://127.0.0.1:(\d+)", "\n".join(server.said))
        assert told
        port = int(told.group(1))
        asked = json.dumps({"type": "synthesize", "data": {"text": LONG}}).encode() + b"\n"
    caller = socket.create_connection(("127.0.0.1", port), timeout=60)
    caller.sendall(asked)
    return caller


def _answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/health", timeout=60).status_code == 200
    except httpx.TransportError:
        return False
