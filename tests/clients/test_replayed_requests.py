"""Requests of applications that cannot be installed here, sent as their sources send them.

Each names the file that it was read in. Bytes go out as they are: no client of ours adds headers.
"""

from __future__ import annotations

import http.client
import io
import json
from typing import Any

import pytest

from runtime.speech.synthesis import TTS
from tests.clients.conftest import KEY, LONG, TOLERANCE, seconds_of
from tests.runtime.serving.conftest import Served

av = pytest.importorskip("av")

AIOHTTP = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "User-Agent": "Python/3.11 aiohttp/3.14.5",
}
REQUESTS = {
    "User-Agent": "python-requests/2.34.2",
    "Accept-Encoding": "gzip, deflate",
    "Accept": "*/*",
    "Connection": "keep-alive",
}
NODE_FETCH = {
    "User-Agent": "node-fetch",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept": "*/*",
    "Connection": "keep-alive",
}
URLLIB = {"Accept-Encoding": "identity", "Connection": "close"}
JSON = {"Content-Type": "application/json"}
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


class Answer:
    """Of a request: status, headers and body."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.content = answer.read()

    @property
    def told(self) -> Any:
        return json.loads(self.content)

    @property
    def seconds(self) -> float:
        """Of the file that came."""
        with av.open(io.BytesIO(self.content)) as container:
            frames = [*container.decode(audio=0)]
        return float(sum(frame.samples for frame in frames) / frames[0].sample_rate)


def send(
    served: Served, method: str, path: str, headers: dict[str, str], body: Any = None
) -> Answer:
    host, port = served.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    content = b"" if body is None else json.dumps(body).encode()
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if content:
        connection.putheader("Content-Length", str(len(content)))
    connection.endheaders(content)
    try:
        return Answer(connection.getresponse())
    finally:
        connection.close()


def assert_spoken(answer: Answer, tts: TTS, kind: str = "audio/mpeg", speed: float = 1.0) -> None:
    seconds = seconds_of(tts, speed=speed)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    assert "content-encoding" not in answer.headers
    assert abs(answer.seconds - seconds) <= TOLERANCE * seconds


# open-webui/open-webui: backend/open_webui/routers/audio.py; the body is made in
# src/lib/apis/audio/index.ts

SPEECH_OF_OPEN_WEBUI = {"input": LONG, "voice": "alloy", "model": "tts-1"}
USER = {
    "X-OpenWebUI-User-Name": "Anna%20Oak",
    "X-OpenWebUI-User-Id": "9d0bc5c6-7fb9-4d2b-a4be-7b4ff8c3c0f5",
    "X-OpenWebUI-User-Email": "anna@example.org",
    "X-OpenWebUI-User-Role": "admin",
}


@pytest.mark.parametrize("extra", [{}, {"response_format": "wav", "speed": 1.25}])
def test_open_webui_speaks(served: Served, tts: TTS, extra: dict[str, Any]) -> None:
    """extra: the field "additional parameters" of its settings."""
    headers = JSON | AUTHORIZED | USER | AIOHTTP
    answer = send(served, "POST", "/v1/audio/speech", headers, SPEECH_OF_OPEN_WEBUI | extra)
    kind = "audio/wav" if extra else "audio/mpeg"
    assert_spoken(answer, tts, kind, extra.get("speed", 1.0))


def test_open_webui_lists_voices_and_models(unlocked: Served) -> None:
    voices = send(unlocked, "GET", "/v1/audio/voices", REQUESTS).told
    assert {voice["id"]: voice["name"] for voice in voices.get("voices", [])} == {"joe": "joe"}
    models = send(unlocked, "GET", "/v1/audio/models", REQUESTS).told
    assert models.get("models", []) == [{"id": "engine"}]


def test_open_webui_sends_no_key_with_its_lists_and_then_shows_names_that_work(
    served: Served, tts: TTS
) -> None:
    for path in ("/v1/audio/voices", "/v1/audio/models"):
        assert send(served, "GET", path, REQUESTS).status == 401
    for voice in ("alloy", "echo", "fable", "onyx", "nova", "shimmer"):
        body = SPEECH_OF_OPEN_WEBUI | {"voice": voice}
        assert_spoken(
            send(served, "POST", "/v1/audio/speech", JSON | AUTHORIZED | AIOHTTP, body), tts
        )


def test_open_webui_shows_what_was_wrong(served: Served) -> None:
    body = SPEECH_OF_OPEN_WEBUI | {"voice": "nobody"}
    answer = send(served, "POST", "/v1/audio/speech", JSON | AUTHORIZED | AIOHTTP, body)
    assert answer.status == 400
    assert "no voice 'nobody'" in answer.told["error"]["message"]


# SillyTavern/SillyTavern: public/scripts/extensions/tts/openai-compatible.js, whose request
# src/endpoints/openai.js (`/custom/generate-voice`) sends on


@pytest.mark.parametrize("speed", [1, 0.5])
@pytest.mark.parametrize("voice", ["alloy", "echo", "fable", "onyx", "nova", "shimmer", "joe"])
def test_sillytavern_speaks(served: Served, tts: TTS, voice: str, speed: float) -> None:
    body = {
        "input": LONG,
        "response_format": "mp3",
        "voice": voice,
        "speed": speed,
        "model": "tts-1",
    }
    answer = send(served, "POST", "/v1/audio/speech", JSON | AUTHORIZED | NODE_FETCH, body)
    assert_spoken(answer, tts, speed=speed)


def test_sillytavern_without_a_key_sends_an_empty_one(unlocked: Served, tts: TTS) -> None:
    body = {"input": LONG, "response_format": "mp3", "voice": "alloy", "speed": 1, "model": "tts-1"}
    headers = JSON | {"Authorization": "Bearer "} | NODE_FETCH
    assert_spoken(send(unlocked, "POST", "/v1/audio/speech", headers, body), tts)


# sfortis/openai_tts, a component for Home Assistant:
# custom_components/openai_tts/openaitts_engine.py, voice_discovery.py, api_validation.py

COMPONENT = JSON | {"User-Agent": "HomeAssistant-OpenAI-TTS"}


def test_home_assistants_component_speaks(served: Served, unlocked: Served, tts: TTS) -> None:
    body = {"model": "tts-1", "input": LONG, "voice": "shimmer", "speed": 1.0}
    body |= {"response_format": "mp3", "instructions": "Softly."}
    headers = COMPONENT | AUTHORIZED | URLLIB
    assert_spoken(send(served, "POST", "/v1/audio/speech", headers, body), tts)
    assert_spoken(send(unlocked, "POST", "/v1/audio/speech", COMPONENT | URLLIB, body), tts)


@pytest.mark.parametrize(("name", "kind"), [("opus", "audio/ogg"), ("mp3", "audio/mpeg")])
def test_home_assistants_component_streams(served: Served, tts: TTS, name: str, kind: str) -> None:
    body = {"model": "tts-1", "input": LONG, "voice": "shimmer", "speed": 1.0}
    headers = AIOHTTP | COMPONENT | AUTHORIZED
    answer = send(served, "POST", "/v1/audio/speech", headers, body | {"response_format": name})
    assert_spoken(answer, tts, kind)


def test_home_assistants_component_finds_the_voices(served: Served) -> None:
    answer = send(served, "GET", "/v1/audio/voices", AIOHTTP | AUTHORIZED)
    assert answer.told["voices"] == [{"id": "joe", "name": "joe"}]


def test_home_assistants_component_checks_a_key_with_a_text_that_has_no_words(
    served: Served,
) -> None:
    """A wrong key is told; a right one is not, because there is nothing to speak in a full stop."""
    probe = {"model": "tts-1", "input": ".", "voice": "alloy", "response_format": "mp3"}
    wrong = JSON | {"Authorization": "Bearer wrong"} | AIOHTTP
    assert send(served, "POST", "/v1/audio/speech", wrong, probe).status == 401
    right = JSON | AUTHORIZED | AIOHTTP
    assert send(served, "POST", "/v1/audio/speech", right, probe).status == 400
