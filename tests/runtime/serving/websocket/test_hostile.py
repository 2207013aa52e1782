"""Callers who break the rules, leave, or do not listen: nobody else notices, nothing is kept."""

from __future__ import annotations

import gc
import json
import os
import re
import socket
import struct
import threading
import time
from typing import Any

import httpx2 as httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from runtime.scheduling.limits import Load, SchedulerLimits
from runtime.serving.encoding import SpeechEncoder
from runtime.serving.server import ConnectionLimits
from runtime.serving.websocket import session
from runtime.speech.codec import DecoderStream
from runtime.speech.synthesis import TTS
from tests.runtime.conftest import FEW_STEPS
from tests.runtime.serving.conftest import Served, serving, until
from tests.runtime.serving.websocket.conftest import NATIVE, PATH, Caller, calling

LONG = " ".join(["Abcdef abc."] * 300)
KEY = "a-key-of-some-length"


def refusal(served: Served, **options: Any) -> tuple[int, str]:
    """Status and code of an answer that opens no WebSocket."""
    with pytest.raises(InvalidStatus) as refused, calling(served, **options):
        pass
    response = refused.value.response
    code: str = json.loads(response.body)["error"]["code"]
    return response.status_code, code


def raw(served: Served, receive_bytes: int | None = None) -> socket.socket:
    """An open WebSocket whose frames are written by hand."""
    host, port = served.url.removeprefix("http://").split(":")
    caller = socket.socket()
    if receive_bytes:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    caller.settimeout(60)
    caller.connect((host, int(port)))
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    caller.sendall(f"GET {PATH} HTTP/1.1\r\nHost: a\r\n{upgrade}{key}\r\n".encode())
    assert caller.recv(2_000).startswith(b"HTTP/1.1 101")
    return caller


def frame(opcode: int, content: bytes, *, is_last: bool = True, length: int | None = None) -> bytes:
    """With a mask of zeros."""
    size = len(content) if length is None else length
    head = bytes([opcode | (0x80 if is_last else 0), 0x80 | 127]) + struct.pack(">Q", size)
    return head + bytes(4) + content


def text(kind: str, **fields: Any) -> bytes:
    return frame(1, json.dumps({"type": kind} | fields).encode())


def test_keys_and_origins(tts: TTS) -> None:
    with serving(tts, keys=(KEY.encode(),)) as served:
        assert refusal(served) == (401, "invalid_api_key")
        wrong = {"Authorization": "Bearer another-key-of-length"}
        assert refusal(served, additional_headers=wrong) == (401, "invalid_api_key")
        right = {"Authorization": f"Bearer {KEY}"}
        foreign = refusal(served, additional_headers=right, origin="https://example.org")
        assert foreign == (403, "foreign_origin")
        with calling(served, additional_headers=right, origin=served.url) as caller:
            assert caller.say("Abc.", **NATIVE)[1]


def test_nobody_is_let_in_while_it_warms_up(tts: TTS, held: threading.Event) -> None:
    with serving(tts, is_awaited=False) as served:
        assert refusal(served) == (503, "not_ready")
        held.set()


def test_sessions_are_counted(tts: TTS) -> None:
    with serving(tts, max_sessions=2) as served:
        with calling(served) as first, calling(served):
            assert refusal(served) == (429, "too_many_sessions")
            assert first.say("Abc.", **NATIVE)[1]
        until(lambda: len(open_sockets()) == 0)
        with calling(served) as caller:
            assert caller.say("Abc.", **NATIVE)[1]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('{"type": "input.text", "text": "Abc."}', None),
        ('{"type": "session.config", "voice": "../x"}', "invalid_voice"),
        ('{"type": "session.config", "voice": "http://127.0.0.1/x.wav"}', "invalid_voice"),
        ('{"type": "session.config", "response_format": "ogg"}', "invalid_value"),
        ('{"type": "session.config", "speed": 9}', "invalid_value"),
        ('{"type": "session.config", "seed": "x"}', "invalid_type"),
        ('{"type": "session.config", "model": "other"}', "model_not_found"),
        ('{"type": "session.config", "word_timestamps": true}', "unsupported"),
        ('{"type": "session.config", "split_granularity": "word"}', "invalid_type"),
        ("hello", "invalid_json"),
        ("[]", "invalid_type"),
    ],
)
def test_the_first_message_must_be_right(served: Served, message: str, code: str | None) -> None:
    with calling(served) as caller:
        caller.socket.send(message)
        error = caller.event()
        assert (error["type"], error["code"]) == ("error", code)
        assert caller.end_code() == 1008


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00\x01", "invalid_type"),
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("null", "invalid_type"),
        ('{"type": 5}', "invalid_type"),
        ('{"type": "input.text", "text": 5}', "invalid_type"),
        ('{"type": "nonsense"}', "unknown_type"),
        ('{"type": "input.text", "more": ' + "[" * 100_000, "invalid_json"),
        ('{"type": "session.config", "voice": "nobody"}', "invalid_voice"),
    ],
)
def test_later_ones_are_refused_and_the_session_goes_on(
    caller: Caller, message: str | bytes, code: str
) -> None:
    caller.socket.send(message)
    error = caller.event()
    assert (error["type"], error["code"]) == ("error", code)
    assert caller.say("Abc.")[1]


def test_a_sentence_that_cannot_be_spoken_is_told(served: Served, caller: Caller) -> None:
    """It is none that failed."""
    before = aborted(served, "failed")
    events, audio = caller.say("Abc. A\x07bc. Abc.")
    kinds = [(event["type"], event.get("error")) for event in events]
    whole, cut = [("audio.start", None), ("audio.done", False)], [("audio.done", True)]
    assert kinds == [*whole, whole[0], ("error", None), *cut, *whole, ("session.done", None)]
    assert "control character" in events[3]["message"]
    assert events[3]["sentence_index"] == 1
    assert audio
    assert aborted(served, "failed") == before


def test_large_messages_end_the_session(served: Served) -> None:
    too_large = struct.pack(">H", 1009)
    with raw(served) as hand:
        hand.sendall(frame(1, b"x" * 200_000))
        assert hand.recv(100)[2:4] == too_large
    with raw(served) as hand:
        hand.sendall(frame(1, b"{", length=2**62))
        assert hand.recv(100)[2:4] == too_large
    with raw(served) as hand:  # pieces of one message
        hand.sendall(frame(1, b"x" * 10_000, is_last=False))
        hand.sendall(frame(0, b"x" * 10_000, is_last=False) * 12)
        hand.sendall(frame(0, b"x" * 10_000, is_last=False))
        assert hand.recv(100)[2:4] == too_large
    with calling(served) as caller:
        assert caller.say("Abc.", **NATIVE)[1]


def test_too_much_text_ends_the_session(tts: TTS, held: threading.Event) -> None:
    held.set()
    with serving(tts, max_text_bytes=1_000) as served, calling(served) as caller:
        held.clear()
        caller.send("session.config", **NATIVE)
        for _ in range(200):
            caller.send("input.text", text="Abcdef. ")
        error = caller.event()
        while error["type"] != "error":
            error = caller.event()
        assert error["code"] == "too_much_text"
        held.set()
        assert caller.end_code() == 1009


def test_ends_without_text_are_bounded(served: Served, held: threading.Event) -> None:
    with calling(served) as caller:
        caller.send("session.config", **NATIVE)
        caller.send("input.text", text="Abc. Abc. ")
        for _ in range(258):
            caller.send("input.done")
        assert caller.end_code() == 1009


SHORT = text("input.text", text="Abc.") + text("input.done")


def heard_until(hand: socket.socket, *marks: bytes) -> bytes:
    """All up to these marks, in this order."""
    marked, heard = re.compile(b".*".join(map(re.escape, marks)), re.DOTALL), b""
    while not marked.search(heard):
        part = hand.recv(65_536)
        assert part, heard[-1_000:]
        heard += part
    return heard


def test_silence_ends_the_session(tts: TTS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CONFIG_SECONDS", 0.2)
    with serving(tts, session_idle_seconds=0.3) as served:
        with calling(served) as caller:
            assert "0.2 s" in caller.event()["message"]
            assert caller.end_code() == 1008
        monkeypatch.setattr(session, "CONFIG_SECONDS", 60)
        with raw(served) as hand:  # all at once: a pause of the test would be silence
            hand.sendall(text("session.config", **NATIVE) + SHORT)
            heard_until(hand, b"session.done", b"no message", struct.pack(">H", 1001))
        with raw(served) as hand:  # the half of a message is silence
            hand.sendall(text("session.config") + frame(1, b'{"type": ', is_last=False))
            assert b"no message" in hand.recv(1_000)


def test_who_is_spoken_to_need_not_say_anything(tts: TTS, held: threading.Event) -> None:
    held.set()
    with serving(tts, session_idle_seconds=0.2) as served, raw(served) as hand:
        held.clear()
        hand.sendall(text("session.config", **NATIVE) + SHORT)  # no pause between them
        time.sleep(1)
        held.set()
        assert b"no message" not in heard_until(hand, b"session.done")


def test_long_texts_do_not_hold_up_sentences(
    served: Served, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, prepare = threading.Event(), TTS.prepare

    def slow(tts: TTS, text: str, *rest: Any) -> Any:
        assert len(text) < 2_000 or go_on.wait(60)
        return prepare(tts, text, *rest)

    monkeypatch.setattr(TTS, "prepare", slow)
    body = {"input": LONG, "response_format": "pcm"}
    threads = [
        threading.Thread(target=httpx.post, args=(f"{served.url}/v1/audio/speech",), kwargs=wanted)
        for wanted in [{"json": body, "timeout": 60}] * 3
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    assert caller.say("Abc. Abc.")[1]
    go_on.set()
    for thread in threads:
        thread.join(60)


@pytest.mark.parametrize("is_reset", [False, True])
def test_who_leaves_frees_the_row_at_once(
    served: Served, steps: list[float], is_reset: bool
) -> None:
    before = aborted(served, "left")
    hand = raw(served)
    hand.sendall(text("session.config", **NATIVE | {"split_granularity": "none"}))
    hand.sendall(text("input.text", text=LONG) + text("input.done"))
    assert hand.recv(100)
    if is_reset:
        hand.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    hand.close()
    left = len(steps)
    served.wait_until_idle()
    assert len(steps) - left <= FEW_STEPS
    made = len(steps)
    time.sleep(0.1)
    assert len(steps) == made
    until(lambda: aborted(served, "left") == before + 1)


def aborted(served: Served, reason: str) -> float:
    told = httpx.get(f"{served.url}/metrics", timeout=60).text
    name = f'slm_tts_speech_stream_aborted_total{{reason="{reason}"}} '
    return sum(float(line.removeprefix(name)) for line in told.splitlines() if name in line)


def open_sockets() -> list[Any]:
    from runtime.serving.websocket.connections import BoundedWebSocket

    found = [thing for thing in gc.get_objects() if type(thing) is BoundedWebSocket]
    return [thing for thing in found if not thing.transport.is_closing()]


def test_a_caller_who_reads_nothing_is_given_up(tts: TTS) -> None:
    limits = SchedulerLimits(rows=1, held_seconds=0.5, slow_seconds=30)
    with serving(tts, limits, patience_seconds=0.5) as served:
        hand = raw(served, receive_bytes=4_096)
        hand.sendall(text("session.config", **NATIVE | {"sample_rate": 48_000}))
        for _ in range(20):
            hand.sendall(text("input.text", text=LONG))
        until(lambda: served.scheduler.load().speaking == 1)
        until(lambda: aborted(served, "slow") == 1)
        until(lambda: served.scheduler.load() == Load(0, 0, 1))
        until(lambda: not open_sockets())
        with calling(served) as caller:
            assert caller.say("Abc.", **NATIVE)[1]
        hand.close()


def test_pings_without_reading_are_bounded(served: Served) -> None:
    with raw(served, receive_bytes=4_096) as hand:
        hand.sendall(text("session.config", **NATIVE))
        hand.setblocking(False)
        pings, sent = frame(9, b"x" * 125) * 1_000, 0
        end = time.monotonic() + 20
        while sent < 30_000_000 and time.monotonic() < end:
            try:
                sent += hand.send(pings)  # cut anywhere: what follows may be no frame
            except BlockingIOError:
                time.sleep(0.001)
            except ConnectionError:
                break
        sizes = [s.transport._transport.get_write_buffer_size() for s in open_sockets()]
        assert all(size < 1_000_000 for size in sizes)


def test_a_hundred_callers(served: Served) -> None:
    """All are answered: some by audio, some by an error, and the server is as before."""
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    answers: list[str] = []

    def call(number: int) -> None:
        with calling(served, open_timeout=60) as caller:
            caller.send("session.config", **NATIVE)
            caller.send("input.text", text="Abc. Abcdef abc. Ab ")
            if number % 3:
                caller.send("input.done")
                answers.append(caller.hear()[0][-2]["type"])
            else:  # leaves in the middle
                answers.append(caller.event(60)["type"])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(answers) == 100
    assert set(answers) <= {"audio.start", "audio.done"}
    served.wait_until_idle()
    until(lambda: not open_sockets())
    if before:
        until(lambda: len(os.listdir("/proc/self/fd")) <= before + 2)


def test_overload_is_told_and_who_hears_goes_on(tts: TTS, held: threading.Event) -> None:
    held.set()
    limits = SchedulerLimits(rows=1, waiting=0)
    with serving(tts, limits) as served, calling(served) as first, calling(served) as second:
        held.clear()
        first.send("session.config", **NATIVE)
        first.send("input.text", text="Abc. Abcdef abc. Abc. Ab")
        first.send("input.done")
        until(lambda: served.scheduler.load().speaking == 1)
        second.send("session.config", **NATIVE)
        second.send("input.text", text="Abc. Abc. Ab")
        assert second.event()["type"] == "audio.start"
        error = second.event()
        assert (error["code"], error["sentence_index"]) == ("overloaded", 0)
        assert error["retry_after"] >= 1
        assert second.event()["error"] is True
        held.set()
        events, _ = first.hear()
        assert not any(event.get("error") for event in events)
        assert events[-1]["total_sentences"] == 4


def test_cancelling_what_was_to_be_the_last_ends_the_session(
    served: Served, held: threading.Event
) -> None:
    with calling(served) as caller:
        caller.send("session.config", **NATIVE)
        caller.send("input.text", text=LONG)
        caller.send("input.done")
        until(lambda: served.scheduler.load().speaking == 1)
        caller.send("session.close")
        caller.send("input.cancel")
        assert caller.hear("audio.cancelled")
        assert caller.end_code() == 1000
        held.set()
        served.wait_until_idle()


def test_an_engine_that_is_gone_is_told_to_who_hears_already(
    tts: TTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tts) as served, calling(served) as caller:
        caller.send("session.config", **NATIVE)
        caller.send("input.text", text="Abc. Ab ")
        assert caller.hear("audio.done")[1]
        monkeypatch.setattr(type(served.scheduler), "is_alive", property(lambda _: False))
        caller.send("input.done")
        events, audio = caller.hear()
        assert not audio
        assert [event.get("code") for event in events] == [None, "not_ready", None, None]
        monkeypatch.undo()


def test_a_failure_in_the_middle_is_told(
    served: Served, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_inputs, made = DecoderStream.next_inputs, [0]

    def fails(stream: DecoderStream, count: int) -> Any:
        made[0] += 1
        if made[0] > 20:
            raise ValueError("no such codec")
        return next_inputs(stream, count)

    monkeypatch.setattr(DecoderStream, "next_inputs", fails)
    events, _ = caller.say(LONG, **NATIVE | {"split_granularity": "none"})
    start, error, done, last = events
    assert start["type"] == "audio.start"
    assert (error["code"], error["partial_audio"]) == ("speech_failed", True)
    assert error["action"] == "discard"
    assert done["error"] is True
    assert last["type"] == "session.done"
    monkeypatch.undo()
    assert caller.say("Abc.")[1]


def test_a_defect_is_told_and_ends_the_session(
    served: Served, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SpeechEncoder, "feed", lambda *_: 1 / 0)
    caller.send("input.text", text="Abc. ")
    caller.send("input.done")
    error = caller.event()
    assert error["type"] == "error"
    assert "division" not in error["message"]
    assert caller.end_code() == 1011
    served.wait_until_idle()


def test_the_end_of_the_server_lets_sentences_be_said(tts: TTS) -> None:
    from tests.runtime.serving.websocket.test_websocket import alone

    said = " ".join(["Abcdef abc."] * 40)
    heard: list[bytes] = []
    ends: list[int] = []

    def listen(caller: Caller) -> None:
        try:
            while True:
                message = caller.socket.recv(60)
                if isinstance(message, bytes):
                    heard.append(message)
        except ConnectionClosed as closed:
            ends.append(closed.rcvd.code if closed.rcvd else 1006)

    with serving(tts, connections=ConnectionLimits(drain_seconds=60)) as served:
        socket_of = connect(served.url.replace("http", "ws") + PATH)
        caller, idle = Caller(socket_of), Caller(connect(served.url.replace("http", "ws") + PATH))
        caller.send("session.config", **NATIVE)
        caller.send("input.text", text=said)
        assert caller.event()["type"] == "audio.start"
        thread = threading.Thread(target=listen, args=(caller,))
        thread.start()
    thread.join(60)
    assert ends == [1012]
    assert b"".join(heard) == alone(served, said)
    assert idle.end_code() == 1012
