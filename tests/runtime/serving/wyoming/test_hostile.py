"""Callers of Wyoming who break the rules, leave, or do not listen."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any

import httpx2 as httpx
import pytest
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart

from runtime.scheduling.limits import Load, SchedulerLimits
from runtime.serving.growing import incoming
from runtime.serving.wyoming import conversation
from runtime.speech.codec import DecoderStream
from runtime.speech.synthesis import TTS
from tests.runtime.conftest import FEW_STEPS
from tests.runtime.serving.conftest import Served, until
from tests.runtime.serving.wyoming.conftest import Speaker, calling, hear, next_event, run, speaking

LONG = " ".join(["Abcdef abc."] * 300)


def raw(speaker: Speaker, receive_bytes: int | None = None) -> socket.socket:
    caller = socket.socket()
    if receive_bytes:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    caller.settimeout(60)
    caller.connect(("127.0.0.1", speaker.port))
    return caller


def line(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind} | fields).encode() + b"\n"


def everything(caller: socket.socket) -> bytes:
    heard = b""
    with suppress(ConnectionResetError):  # what we said last was not read
        while more := caller.recv(65_536):
            heard += more
    return heard


def is_well(speaker: Speaker) -> None:
    """The next caller is spoken to."""

    async def listen() -> None:
        async with calling(speaker) as client:
            await client.write_event(Synthesize(text="Abc.").event())
            assert (await hear(client))[1]

    run(listen())


def aborted(served: Served, reason: str) -> float:
    told = httpx.get(f"{served.url}/metrics", timeout=60).text
    name = f'slm_tts_speech_stream_aborted_total{{reason="{reason}"}} '
    return sum(float(line.removeprefix(name)) for line in told.splitlines() if name in line)


@pytest.mark.parametrize(
    "junk",
    [
        b"hello\n",
        b"\n",
        b"[]\n",
        b"null\n",
        b'{"type": 5}\n',
        b'{"no": "type"}\n',
        b'{"type": "synthesize"}\n',
        b'{"type": "synthesize", "data": {"text": 5}}\n',
        b'{"type": "synthesize", "data": []}\n',
        b'{"type": "ping", "data_length": -5}\n',
        b'{"type": "ping", "data_length": 99999999999}\n',
        b'{"type": "ping", "payload_length": 99999999999}\n',
        b'{"type": "ping", "data_length": 4}\nnull',
        b'{"type": "ping", "data_length": 5}\n\xff\xff\xff\xff\xff',
        b'{"type": "ping", "more": ' + b"[" * 100_000 + b"\n",
        b"x" * 10_000_000,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
    ],
)
def test_junk_ends_the_connection(speaker: Speaker, junk: bytes) -> None:
    with raw(speaker) as caller:
        with suppress(ConnectionError):
            caller.sendall(junk)
        heard = everything(caller)
        assert not heard or json.loads(heard.splitlines()[0])["type"] == "error"
    is_well(speaker)


def test_unknown_events_and_inline_data_are_taken(speaker: Speaker) -> None:
    with raw(speaker) as caller:
        caller.sendall(line("select-program", data={"name": "x"}) + line("synthesize-chunk"))
        assert json.loads(everything_until(caller, b"\n").splitlines()[0])["type"] == "error"
    with raw(speaker) as caller:
        caller.sendall(line("nonsense", payload_length=3) + b"abc")
        caller.sendall(line("synthesize-stop") + line("ping", data={"text": "x"}))
        assert b"pong" in everything_until(caller, b"}")


def everything_until(caller: socket.socket, mark: bytes) -> bytes:
    heard = b""
    while mark not in heard:
        heard += caller.recv(65_536)
    return heard


def test_half_an_event(speaker: Speaker) -> None:
    for half in (b'{"type": "des', b'{"type": "ping", "data_length": 50}\n{"te'):
        with raw(speaker) as caller:
            caller.sendall(half)
        is_well(speaker)


def test_silence_ends_the_connection(speaker: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "FIRST_SECONDS", 0.2)
    monkeypatch.setattr(conversation, "IDLE_SECONDS", 0.4)
    for said in (b"", b'{"type": "des', line("describe")):
        with raw(speaker) as caller:
            caller.sendall(said)
            start = time.monotonic()
            everything(caller)
            assert time.monotonic() - start < 10


def test_a_stream_within_a_stream(speaker: Speaker) -> None:
    with raw(speaker) as caller:
        caller.sendall(line("synthesize-start") * 2)
        assert b"stream_is_open" in everything(caller)


def test_too_much_text(tts: TTS, held: threading.Event) -> None:
    held.set()
    with speaking(tts, max_text_bytes=1_000) as speaker, raw(speaker) as caller:
        held.clear()
        caller.sendall(line("synthesize-start"))
        caller.sendall(line("synthesize-chunk", data={"text": "Abcdef. " * 20}) * 20)
        assert b"too_much_text" in everything(caller)
        held.set()
        speaker.wait_until_idle()


@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.parametrize("when", ["waiting", "speaking"])
def test_who_leaves_frees_the_row_at_once(
    speaker: Speaker, steps: list[float], is_reset: bool, when: str
) -> None:
    before = aborted(speaker, "left")
    caller = raw(speaker)
    caller.sendall(line("synthesize", data={"text": LONG}))
    if when == "speaking":
        assert caller.recv(100)
    else:
        until(lambda: speaker.scheduler.load().speaking == 1)
    if is_reset:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()
    left = len(steps)
    speaker.wait_until_idle()
    assert len(steps) - left <= FEW_STEPS
    until(lambda: aborted(speaker, "left") == before + 1)


def test_a_caller_who_reads_nothing_is_given_up(tts: TTS) -> None:
    limits = SchedulerLimits(rows=1, held_seconds=0.5, slow_seconds=30)
    with speaking(tts, limits, patience_seconds=0.5, send_bytes=4_096) as speaker:
        with raw(speaker, receive_bytes=4_096) as caller:
            caller.sendall(line("synthesize-start"))
            for _ in range(5):
                caller.sendall(line("synthesize-chunk", data={"text": LONG}))
            until(lambda: speaker.scheduler.load().speaking == 1)
            until(lambda: aborted(speaker, "slow") == 1)
            until(lambda: speaker.scheduler.load() == Load(0, 0, 1))
        is_well(speaker)


def test_connections_are_counted(tts: TTS) -> None:
    with speaking(tts, max_sessions=2) as speaker:

        async def listen() -> None:
            async with calling(speaker) as first, calling(speaker) as second:
                for client in (first, second):
                    await client.write_event(Synthesize(text="Abc.").event())
                    assert (await hear(client))[1]
                async with calling(speaker) as third:
                    with pytest.raises((ConnectionError, AssertionError)):
                        assert await next_event(third) is not None

        run(listen())
        until(lambda: not speaker.app.state.wyoming._running)
        is_well(speaker)


def test_a_hundred_callers(speaker: Speaker) -> None:
    """Each is spoken to, or told that there are too many."""

    async def call(number: int) -> list[str]:
        async with calling(speaker) as client:
            await client.write_event(SynthesizeStart().event())
            await client.write_event(SynthesizeChunk(text="Abc. Abcdef abc. Ab ").event())
            if number % 3 == 0:  # leaves in the middle
                event = await next_event(client)
                return [event.type if event else "(end)"]
            await client.write_event(Synthesize(text="x").event())
            await client.write_event(SynthesizeStart().event())  # wrong, or too late
            return (await hear(client, "(end)"))[0]

    async def all_of_them() -> list[list[str]]:
        return await asyncio.gather(*(call(number) for number in range(100)))

    answers = run(all_of_them())
    assert {kinds[-1] for kinds in answers[1::3]} == {"(end)"}
    assert {kinds[0] for kinds in answers[::3]} <= {"audio-start", "error"}
    speaker.wait_until_idle()
    until(lambda: not speaker.app.state.wyoming._running)
    is_well(speaker)


def test_a_failure_is_told_and_is_no_end(speaker: Speaker, monkeypatch: pytest.MonkeyPatch) -> None:
    next_inputs, made = DecoderStream.next_inputs, [0]

    def fails(stream: DecoderStream, count: int) -> Any:
        made[0] += 1
        if made[0] > 20:
            raise ValueError("no such codec")
        return next_inputs(stream, count)

    monkeypatch.setattr(DecoderStream, "next_inputs", fails)

    async def listen() -> None:
        async with calling(speaker) as client:
            await client.write_event(Synthesize(text=LONG).event())
            kinds, _ = await hear(client)
            assert kinds == ["audio-start", "audio-chunk", "error", "(end)"]

    run(listen())
    monkeypatch.undo()
    is_well(speaker)


def test_overload_is_told(tts: TTS, held: threading.Event) -> None:
    held.set()
    with speaking(tts, SchedulerLimits(rows=1, waiting=0)) as speaker:
        held.clear()
        with raw(speaker) as first, raw(speaker) as second:
            first.sendall(line("synthesize", data={"text": "Abc."}))
            until(lambda: speaker.scheduler.load().speaking == 1)
            second.sendall(line("synthesize", data={"text": "Abc."}))
            assert b"overloaded" in everything(second)
            held.set()


def test_the_end_of_the_server_lets_texts_be_said(
    tts: TTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "PAUSE_SECONDS", 30)

    text = " ".join(["Abcdef abc."] * 60)

    async def listen(speaker: Speaker) -> None:
        async with calling(speaker) as client, calling(speaker) as idle, calling(speaker) as half:
            await client.write_event(Synthesize(text=text).event())
            await half.write_event(SynthesizeStart().event())
            await half.write_event(SynthesizeChunk(text="Abc. Abc ").event())
            assert await next_event(client)
            assert await next_event(half)
            speaker.stop()
            kinds, audio = await hear(client)
            assert kinds[-1] == "audio-stop"
            assert len(audio) == 2 * len(speaker.tts.synthesize(text, voice="plain").audio)
            assert await next_event(idle) is None
            kinds, _ = await hear(half)
            assert kinds[-1] == "(end)", "a text that did not end is not said to be whole"

    with speaking(tts) as speaker:
        run(listen(speaker))
