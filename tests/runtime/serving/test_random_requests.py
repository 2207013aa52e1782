"""Random requests: each gets audio or an error in OpenAI's shape, never a defect (500)."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runtime.serving.conftest import Served

OFTEN = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FORMATS = ["mp3", "opus", "aac", "flac", "wav", "pcm"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
ROUTES = [
    *("/", "/health", "/ready", "/metrics", "/v1/audio/speech", "/v1/models", "/v1/audio/models"),
    *("/v1/audio/voices", "/v2/health/live", "/v2/health/ready", "/page/page.js"),
]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12)
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
BODIES = st.fixed_dictionaries(
    {
        "input": st.sampled_from(["Abc.", "A.", "", " ", "\N{SPARKLES}"])
        | st.text(max_size=20)
        | LEAVES
    },
    optional={
        "model": st.sampled_from(["tts-1", "gpt-4o-mini-tts", "engine"]) | ANYTHING,
        "voice": st.sampled_from(["plain", "alloy", "../x", "http://a/"]) | ANYTHING,
        "response_format": st.sampled_from(FORMATS) | ANYTHING,
        "stream_format": st.sampled_from(["audio", "sse"]) | ANYTHING,
        "speed": st.sampled_from([0.25, 1.0, 4.0]) | ANYTHING,
        "seed": st.integers(0, 2**40) | ANYTHING,
        "sample_rate": st.sampled_from([8_000, 16_000, 24_000, 48_000]) | ANYTHING,
        "stream": st.booleans() | ANYTHING,
        "instructions": ANYTHING,
    },
)
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
VALUES = st.binary(max_size=30).map(lambda raw: raw.translate(None, b"\r\n\x00"))


def check(answer: httpx.Response, method: str = "POST") -> None:
    """Only known outcomes."""
    assert answer.status_code < 500 or answer.status_code == 507, answer.text
    if answer.status_code < 400:
        return
    if method == "HEAD":
        assert not answer.content
        return
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]


def speak(served: Served, content: bytes, **headers: str) -> httpx.Response:
    url = f"{served.url}/v1/audio/speech"
    return httpx.post(url, content=content, headers=headers, timeout=60)


@OFTEN
@given(body=BODIES)
def test_random_fields(served: Served, body: dict[str, Any]) -> None:
    answer = speak(served, json.dumps(body).encode())
    check(answer)
    if answer.status_code == 200:
        assert answer.content


@OFTEN
@given(content=st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_random_bodies(served: Served, content: bytes) -> None:
    check(speak(served, content))


@pytest.mark.parametrize("depth", [100, 100_000])
def test_nested_bodies(served: Served, depth: int) -> None:
    check(speak(served, b'{"input": "Abc.", "x": ' + b"[" * depth + b"]" * depth + b"}"))
    check(speak(served, b'{"input": ' + b"[" * depth))


@OFTEN
@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from(ROUTES) | st.text(max_size=20).map(lambda text: f"/v1/{text}"),
    query=st.text(max_size=10),
    headers=st.dictionaries(NAMES, VALUES, max_size=4),
    content=st.binary(max_size=30),
)
def test_random_methods_routes_and_headers(
    served: Served,
    method: str,
    path: str,
    query: str,
    headers: dict[str, bytes],
    content: bytes,
) -> None:
    given_headers = {name.encode(): value for name, value in headers.items()}
    try:
        request = httpx.Request(
            method,
            f"{served.url}{quote(path)}?{quote(query)}",
            headers=given_headers,
            content=content,
        )
        with httpx.Client(timeout=60) as caller:
            answer = caller.send(request)
    except (httpx.LocalProtocolError, httpx.InvalidURL):  # what this client does not send
        return
    check(answer, method)


@OFTEN
@given(
    name=st.sampled_from(["audio_sample", "name", "consent"]) | NAMES,
    file=st.binary(max_size=100),
    fields=st.dictionaries(st.sampled_from(["name", "consent"]), st.text(max_size=80)),
    kind=st.sampled_from(["audio/wav", "text/plain", "", "application/x"]),
)
def test_random_uploads(
    served: Served, name: str, file: bytes, fields: dict[str, str], kind: str
) -> None:
    files = {name: ("../../x.wav", file, kind)}
    answer = httpx.post(f"{served.url}/v1/audio/voices", data=fields, files=files, timeout=60)
    check(answer)
    assert answer.status_code != 200, "noise is no voice"


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=x", "text/plain", ""]
)
@OFTEN
@given(content=st.binary(max_size=200) | st.just(b"--x\r\n") | st.just(b"--x--\r\n"))
def test_random_forms(served: Served, content_type: str, content: bytes) -> None:
    url, headers = f"{served.url}/v1/audio/voices", {"content-type": content_type}
    check(httpx.post(url, content=content, headers=headers, timeout=60))


@OFTEN
@given(
    sent=st.binary(min_size=1, max_size=200)
    | st.binary(max_size=60).map(lambda raw: b"POST /v1/audio/speech HTTP/1.1\r\n" + raw)
    | st.binary(max_size=60).map(
        lambda raw: b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + raw
    )
)
def test_random_bytes_on_a_connection(served: Served, sent: bytes) -> None:
    """What is no HTTP is told so, or cut; the server goes on."""
    host, port = served.url.removeprefix("http://").split(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=60) as caller:
        caller.sendall(sent)
        caller.shutdown(socket.SHUT_WR)
        try:
            while part := caller.recv(65_536):
                answer += part
        except ConnectionResetError:
            return
    if answer:
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        assert status < 500, answer
        if b"json" in head and body:
            assert json.loads(body)["error"]["message"]
        else:
            assert status < 400, answer


def test_after_all_that_it_speaks(served: Served) -> None:
    assert speak(served, b'{"input": "Abc."}').status_code == 200
    served.wait_until_idle()
