"""gRPC while the server begins and ends, and when the engine fails."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from commands.errors import UserError
from runtime.scheduling.limits import SchedulerLimits
from runtime.scheduling.scheduler import Scheduler
from runtime.serving.app import make_app
from runtime.serving.server import ConnectionLimits, SpeechServer
from runtime.speech.synthesis import TTS
from tests.clients.conftest import fail_after
from tests.runtime.serving.conftest import Served, serving, until
from tests.runtime.serving.riva.conftest import CODE, LONG, alone, calling, refused, seeded


def test_a_speech_that_fails_midway_is_an_error(tts: TTS, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []
    whole = alone(tts, LONG)
    with serving(tts, has_grpc=True) as failing, calling(failing) as caller:
        fail_after(monkeypatch, chunks=12)

        def listen() -> None:
            for part in caller.stream([caller.request(LONG)]):
                heard.append(part.audio)

        refused(listen, CODE.INTERNAL)
        refused(lambda: caller.speak(LONG), CODE.INTERNAL)
        failing.wait_until_idle()
    assert 0 < len(b"".join(heard)) < len(whole)


def is_closed(served: Served) -> bool:
    """gRPC may cancel a call that comes before, on a connection that is open still."""
    host, port = served.grpc.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=60).close()
    except ConnectionError:
        return True
    return False


def test_the_end_lets_speeches_be_said(tts: TTS, held: threading.Event) -> None:
    held.set()
    with serving(tts, has_grpc=True, drain_seconds=60) as served, calling(served) as caller:
        held.clear()
        stream = caller.stream([caller.request(LONG, **seeded())])
        until(lambda: served.scheduler.load().speaking == 1)
        served.stop()
        until(lambda: is_closed(served))
        with calling(served) as late:
            refused(late.speak, CODE.UNAVAILABLE)
        held.set()
        assert b"".join(each.audio for each in stream) == alone(tts, LONG)


def test_the_end_does_not_wait_for_a_text(tts: TTS) -> None:
    go_on = threading.Event()
    with serving(tts, has_grpc=True, drain_seconds=60) as served, calling(served) as caller:

        def texts() -> Iterator[Any]:
            yield caller.request()
            go_on.wait(60)

        stream = caller.stream(texts())
        assert next(stream).audio
        began = time.monotonic()
        served.stop()
        error = refused(lambda: list(stream), CODE.UNAVAILABLE)
        assert time.monotonic() - began < 15, "a drain takes 60 s"
        assert "this server ends" in error.details()
        go_on.set()


def test_while_it_warms_up_it_says_so(tts: TTS, held: threading.Event) -> None:
    with serving(tts, has_grpc=True, is_awaited=False) as served, calling(served) as caller:
        until(lambda: served.scheduler.load().speaking == 1)
        error = refused(caller.speak, CODE.UNAVAILABLE)
        assert "warming up" in error.details()
        assert "grpc-status-details-bin" in dict(error.trailing_metadata())
        held.set()
        until(lambda: served.app.state.speaking.phase.value == "ready")
        assert caller.speak()


def test_the_end_cuts_who_is_not_done(tts: TTS, steps: list[float]) -> None:
    """`steps`: slow ones."""
    with serving(tts, has_grpc=True, drain_seconds=1) as served, calling(served) as caller:
        stream = caller.stream([caller.request(" ".join([LONG] * 20))])
        assert next(stream).audio
        served.stop()
        refused(lambda: list(stream), CODE.UNAVAILABLE)
        served.wait_until_idle()


def test_a_port_that_is_lost_is_told(tts: TTS) -> None:
    """gRPC binds its own socket, after the one that held the port is closed."""
    with socket.socket() as holding, socket.socket() as thief:
        for each in (holding, thief):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holding.bind(("127.0.0.1", 0))
        thief.bind(holding.getsockname())
        thief.listen()
        with Scheduler(tts, SchedulerLimits(rows=1)) as scheduler:
            app = make_app(scheduler, riva=holding)
            server = SpeechServer(app, ConnectionLimits())
            with pytest.raises(UserError, match="give another --grpc-port"):
                server.run()
