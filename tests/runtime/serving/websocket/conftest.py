"""A caller of the WebSocket: sends messages, and gathers what is said until an event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.runtime.serving.conftest import Served

PATH = "/v1/audio/speech/stream"
NATIVE: dict[str, Any] = {
    "voice": "plain",
    "response_format": "pcm",
    "sample_rate": 16_000,
    "stream_audio": True,
    "seed": 7,
}


class Caller:
    """One connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind} | fields))

    def next(self, timeout: float = 60) -> dict[str, Any] | bytes:
        message = self.socket.recv(timeout)
        if isinstance(message, bytes):
            return message
        event: dict[str, Any] = json.loads(message)
        return event

    def event(self, timeout: float = 60) -> dict[str, Any]:
        """The next event; audio before it is left out."""
        while isinstance(message := self.next(timeout), bytes):
            pass
        return message

    def hear(self, until: str = "session.done") -> tuple[list[dict[str, Any]], bytes]:
        """Events up to one of this kind, and the audio between them."""
        events: list[dict[str, Any]] = []
        audio = b""
        while not events or events[-1]["type"] != until:
            message = self.next()
            if isinstance(message, bytes):
                audio += message
            else:
                events.append(message)
        return events, audio

    def say(self, text: str, **config: Any) -> tuple[list[dict[str, Any]], bytes]:
        """An utterance in one piece."""
        if config:
            self.send("session.config", **config)
        self.send("input.text", text=text)
        self.send("input.done")
        return self.hear()

    def end_code(self, timeout: float = 60) -> int:
        """With which code the server closes; what comes before is left out."""
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                self.socket.recv(timeout)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


@contextmanager
def calling(served: Served, **options: Any) -> Iterator[Caller]:
    url = served.url.replace("http", "ws") + PATH
    with connect(url, **options) as socket:
        yield Caller(socket)


@pytest.fixture
def caller(served: Served) -> Iterator[Caller]:
    """Configured for native samples."""
    with calling(served) as caller:
        caller.send("session.config", **NATIVE)
        yield caller
