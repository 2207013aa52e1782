"""How speeches end early: who leaves frees the row, and what fails is never taken for whole."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from typing import Any

import httpx2 as httpx
import pytest

from runtime.scheduling.limits import Load, SchedulerLimits
from runtime.serving.encoding import SpeechEncoder
from runtime.speech.codec import DecoderStream
from runtime.speech.synthesis import TTS
from tests.runtime.conftest import FEW_STEPS
from tests.runtime.serving.conftest import Served, serving, until

LONG = " ".join(["Abcdef abc."] * 60)
CUT = (httpx.RemoteProtocolError, httpx.ReadError)


def body(**fields: Any) -> dict[str, Any]:
    return {"input": LONG, "voice": "plain", "response_format": "pcm"} | fields


def open_request(served: Served, version: str = "1.1", **fields: Any) -> socket.socket:
    """A request whose answer is read by hand."""
    content = json.dumps(body(**fields)).encode()
    host, port = served.url.removeprefix("http://").split(":")
    caller = socket.create_connection((host, int(port)), timeout=60)
    head = f"POST /v1/audio/speech HTTP/{version}\r\nHost: a\r\nContent-Length: {len(content)}\r\n"
    caller.sendall(head.encode() + b"\r\n" + content)
    return caller


@pytest.mark.parametrize("fields", [{}, {"stream_format": "sse"}, {"stream": False}])
def test_who_leaves_frees_the_row_at_once(
    served: Served, steps: list[float], fields: dict[str, Any]
) -> None:
    caller = open_request(served, **fields)
    if fields.get("stream") is False:
        until(lambda: served.scheduler.load().speaking == 1)
    else:
        assert caller.recv(100)
    caller.close()
    left = len(steps)
    served.wait_until_idle()
    assert len(steps) - left <= FEW_STEPS
    made = len(steps)
    time.sleep(0.1)
    assert len(steps) == made, "nothing is generated for nobody"
    assert "aborted" in httpx.get(f"{served.url}/metrics", timeout=60).text


def test_who_leaves_while_waiting_is_forgotten(tts: TTS, held: threading.Event) -> None:
    held.set()
    with serving(tts, SchedulerLimits(rows=1, waiting=4)) as served:
        held.clear()
        first, second = open_request(served), open_request(served)
        until(lambda: served.scheduler.load() == Load(1, 1, 1))
        second.close()
        time.sleep(0.1)
        held.set()
        until(lambda: served.scheduler.load().waiting == 0)
        first.close()
        served.wait_until_idle()


def test_leaving_at_random_points_leaks_nothing(served: Served, steps: list[float]) -> None:
    for number in range(30):
        caller = open_request(served, response_format=("mp3", "opus", "pcm")[number % 3])
        time.sleep(number * 0.003)
        if number % 2:  # a reset instead of an end
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.close()
    served.wait_until_idle()
    answer = httpx.post(f"{served.url}/v1/audio/speech", json=body(input="Abc."), timeout=60)
    assert answer.status_code == 200


def failing_after(monkeypatch: pytest.MonkeyPatch, chunks: int) -> None:
    """The codec fails when so many chunks were made."""
    next_inputs, made = DecoderStream.next_inputs, [0]

    def fails(stream: DecoderStream, count: int) -> Any:
        made[0] += 1
        if made[0] > chunks:
            raise ValueError("no such codec")
        return next_inputs(stream, count)

    monkeypatch.setattr(DecoderStream, "next_inputs", fails)


def hear(served: Served, **fields: Any) -> tuple[bytes, bool]:
    """What comes, and whether it was cut off."""
    heard = b""
    try:
        with httpx.stream("POST", f"{served.url}/v1/audio/speech", json=body(**fields)) as answer:
            assert answer.status_code == 200
            for part in answer.iter_bytes():
                heard += part
    except CUT:
        return heard, True
    return heard, False


def read_to_end(caller: socket.socket) -> None:
    while caller.recv(65_536):
        pass


def test_a_failure_before_any_audio_has_a_status(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_after(monkeypatch, 0)
    answer = httpx.post(f"{served.url}/v1/audio/speech", json=body(), timeout=60)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "speech_failed"


@pytest.mark.parametrize("fields", [{}, {"response_format": "mp3"}, {"response_format": "wav"}])
def test_a_failure_in_the_middle_is_no_end(
    served: Served, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    failing_after(monkeypatch, 20)
    heard, is_cut = hear(served, **fields)
    assert heard
    assert is_cut


def test_old_clients_are_cut_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP/1.0 has no chunks: a closed connection would be a good end, a reset one is none."""
    failing_after(monkeypatch, 20)
    with open_request(served, "1.0") as caller, pytest.raises(ConnectionResetError):
        read_to_end(caller)


def test_events_say_what_failed_and_are_cut(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_after(monkeypatch, 20)
    heard, is_cut = hear(served, stream_format="sse")
    assert is_cut
    last = json.loads(heard.split(b"data: ")[-1])
    assert last["type"] == "speech.audio.error"
    assert last["error"]["partial_audio"] is True
    assert last["error"]["code"] == "speech_failed"


def test_an_encoder_that_fails_is_told_as_a_defect(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SpeechEncoder, "feed", lambda *_: 1 / 0)
    answer = httpx.post(f"{served.url}/v1/audio/speech", json=body(), timeout=60)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "defect"
    assert "division" not in answer.text


def test_a_listener_who_reads_nothing_is_given_up(tts: TTS) -> None:
    limits = SchedulerLimits(rows=1, held_seconds=0.5, slow_seconds=30)
    with serving(tts, limits, patience_seconds=0.5) as served:
        text = " ".join(["Abcdef abc."] * 900)  # more than the buffers of sockets hold
        caller = open_request(served, input=text, response_format="wav", sample_rate=48_000)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        until(lambda: served.scheduler.load().speaking == 1)
        until(lambda: served.scheduler.load() == Load(0, 0, 1), 90)
        answer = httpx.post(f"{served.url}/v1/audio/speech", json=body(input="Abc."), timeout=60)
        assert answer.status_code == 200
        caller.close()
