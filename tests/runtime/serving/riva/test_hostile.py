"""Callers of gRPC without a key, with junk, with too much, and those who leave or do not listen."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runtime.scheduling.limits import SchedulerLimits
from runtime.serving.riva import server as riva_server
from runtime.speech.synthesis import TTS
from tests.runtime.conftest import FEW_STEPS
from tests.runtime.serving.conftest import Served, serving, until
from tests.runtime.serving.riva.conftest import (
    CODE,
    LONG,
    SECONDS,
    Caller,
    aborted,
    calling,
    refused,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4" + bytes(5)  # and empty settings


@pytest.mark.parametrize("key", [None, "a-key-of-some-other"])
@pytest.mark.parametrize("method", ["Synthesize", "GetRivaSynthesisConfig"])
def test_without_a_key_nothing_is_said(server: Served, key: str | None, method: str) -> None:
    with calling(server, key) as stranger:
        body = stranger.request().SerializeToString()
        error = refused(lambda: stranger.raw(method, body), CODE.UNAUTHENTICATED)
        assert "authorization: Bearer KEY" in error.details()
        stream = stranger.stream([stranger.request()])
        refused(lambda: list(stream), CODE.UNAUTHENTICATED)


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x04Abc", b"\x0a\x01\xff"])
def test_what_is_no_message_is_told(
    caller: Caller, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for method, kind in (
        ("Synthesize", "SynthesizeSpeechRequest"),
        ("SynthesizeOnline", "SynthesizeSpeechRequest"),
        ("GetRivaSynthesisConfig", "RivaSynthesisConfigRequest"),
    ):
        error = refused(lambda method=method: caller.raw(method, body), CODE.INVALID_ARGUMENT)
        assert error.details() == f"what came is no {kind}"
    assert not caplog.records


def test_too_much_and_what_there_is_not(caller: Caller) -> None:
    refused(lambda: caller.speak("a" * 300_000), CODE.RESOURCE_EXHAUSTED)
    refused(lambda: caller.raw("Nothing", b""), CODE.UNIMPLEMENTED)
    assert caller.speak()


def test_a_full_server_says_when(tts: TTS, held: threading.Event) -> None:
    from runtime.serving.riva.messages import RetryInfo, RpcStatus

    held.set()
    limits = SchedulerLimits(rows=1, waiting=0)
    with (
        serving(tts, limits, has_grpc=True) as full,
        calling(full) as caller,
        ThreadPoolExecutor(1) as pool,
    ):
        held.clear()
        first = pool.submit(caller.speak)
        until(lambda: full.scheduler.load().speaking == 1)
        error = refused(caller.speak, CODE.RESOURCE_EXHAUSTED)
        held.set()
        assert first.result()
        counted = full.app.state.metrics.text().decode()
    told = dict(error.trailing_metadata())
    status, retry = RpcStatus.FromString(told["grpc-status-details-bin"]), RetryInfo()
    assert (status.code, status.message) == (8, error.details())
    assert status.details[0].Unpack(retry)
    assert retry.retry_delay.seconds >= 1
    assert told["grpc-retry-pushback-ms"] == str(1000 * retry.retry_delay.seconds)
    assert 'requests_total{route="riva_synthesize",status="429"} 1.0' in counted
    assert 'requests_total{route="riva_synthesize",status="200"} 1.0' in counted


def test_calls_have_a_bound(tts: TTS, held: threading.Event) -> None:
    held.set()
    with (
        serving(tts, has_grpc=True, max_sessions=1) as small,
        calling(small) as first,
        calling(small) as second,
    ):
        held.clear()
        stream = first.stream([first.request()])
        until(lambda: small.scheduler.load().speaking == 1)
        error = refused(second.speak, CODE.RESOURCE_EXHAUSTED)
        assert "1 calls are being answered" in error.details()
        held.set()
        assert list(stream)


@pytest.mark.parametrize("phase", ["before", "between"])
def test_who_leaves_ends_the_work(tts: TTS, held: threading.Event, phase: str) -> None:
    held.set()
    with serving(tts, has_grpc=True) as served, calling(served) as caller:
        if phase == "before":
            held.clear()
        stream = caller.stream([caller.request(" ".join([LONG] * 20))])
        if phase == "before":
            until(lambda: served.scheduler.load().speaking == 1)
        else:
            assert next(stream).audio
        stream.cancel()
        held.set()
        served.wait_until_idle()
        until(lambda: aborted(served, "left") == 1)


@pytest.mark.parametrize("how", ["cancels", "hangs up", "has no time"])
def test_who_leaves_a_whole_text_frees_the_row_at_once(
    tts: TTS, steps: list[float], how: str
) -> None:
    with serving(tts, has_grpc=True) as served, calling(served) as caller:
        call = caller.begin(" ".join([LONG] * 20), 5.0 if how == "has no time" else SECONDS)
        until(lambda: served.scheduler.load().speaking == 1)
        match how:
            case "cancels":
                call.cancel()
            case "hangs up":
                caller.close()
            case _:
                refused(call.result, CODE.DEADLINE_EXCEEDED)
        left = len(steps)
        served.wait_until_idle()
        assert len(steps) - left <= FEW_STEPS
        until(lambda: aborted(served, "left") == 1)


def test_who_reads_nothing_is_cut_off(tts: TTS) -> None:
    with (
        serving(tts, has_grpc=True, patience_seconds=0.3, max_text_bytes=1_000_000) as served,
        calling(served) as caller,
    ):
        text = " ".join([LONG] * 60)
        stream = caller.stream([caller.request(text, sample_rate_hz=48_000)])
        until(lambda: aborted(served, "slow") == 1)
        served.wait_until_idle()
        error = refused(lambda: list(stream), CODE.DEADLINE_EXCEEDED)
        assert "no audio was taken for 0.3 s" in error.details()


def test_who_says_nothing_is_cut_off(tts: TTS) -> None:
    go_on = threading.Event()

    def nothing() -> Iterator[Any]:
        go_on.wait(60)
        yield from ()

    settings: dict[str, Any] = {"session_idle_seconds": 0.2, "body_seconds": 0.2}
    with serving(tts, has_grpc=True, **settings) as served, calling(served) as caller:
        error = refused(lambda: list(caller.stream(nothing())), CODE.DEADLINE_EXCEEDED)
        go_on.set()
        assert "no text came" in error.details()


def test_no_text_at_all_is_refused(caller: Caller) -> None:
    refused(lambda: list(caller.stream(())), CODE.INVALID_ARGUMENT)


def reached(served: Served, said: bytes) -> socket.socket:
    """A connection by hand."""
    host, port = served.grpc.split(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    connection.sendall(said)
    return connection


def is_open(connection: socket.socket) -> bool:
    """It was answered."""
    try:
        return connection.recv(1) != b""
    except ConnectionResetError:
        return False


def test_connections_have_a_bound(tts: TTS) -> None:
    with serving(tts, has_grpc=True, max_sessions=2) as served:
        most = riva_server.most_connections(served.app.state.speaking.settings)
        crowd = [reached(served, PREFACE) for _ in range(most)]
        assert all(is_open(one) for one in crowd)
        assert not is_open(reached(served, PREFACE))
        crowd.pop().close()
        until(lambda: is_open(reached(served, PREFACE)))
        for one in crowd:
            one.close()


@pytest.mark.parametrize("said", [b"", PREFACE[:20], PREFACE])
def test_connections_without_a_call_are_closed(
    tts: TTS, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(riva_server, "HANDSHAKE_MS", 300)
    monkeypatch.setattr(riva_server, "IDLE_MS", 300)
    with serving(tts, has_grpc=True) as served, reached(served, said) as connection:
        while is_open(connection):
            pass


@pytest.mark.parametrize(
    "said", [b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\0" * 100_000]
)
def test_what_is_no_grpc_is_cut_off(server: Served, caller: Caller, said: bytes) -> None:
    with reached(server, said) as connection:
        while is_open(connection):
            pass
    assert caller.speak()


@pytest.mark.parametrize("fields", [{"text": "..."}, {"voice_name": "nobody"}])
def test_what_is_refused_is_no_failed_speech(
    server: Served, caller: Caller, fields: dict[str, Any]
) -> None:
    before = aborted(server, "failed")
    refused(lambda: caller.speak(**fields), CODE.INVALID_ARGUMENT)
    stream = caller.stream([caller.request(**fields)])
    refused(lambda: list(stream), CODE.INVALID_ARGUMENT)
    assert aborted(server, "failed") == before
