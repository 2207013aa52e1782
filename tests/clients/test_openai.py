"""OpenAI's own client drives the server in every way that it has, and in every format."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runtime.scheduling.limits import SchedulerLimits
from runtime.serving.encoding import encode_whole
from runtime.speech.synthesis import TTS
from tests.clients.conftest import FORMATS, KEY, LONG, RATE_HZ, TOLERANCE, fail_after, seconds_of
from tests.runtime.serving.conftest import Served, serving, until

av = pytest.importorskip("av")
openai = pytest.importorskip("openai")


def options(name: str, **more: Any) -> dict[str, Any]:
    return {"model": "tts-1", "voice": "alloy", "input": LONG, "response_format": name} | more


def address(served: Served) -> dict[str, Any]:
    return {"base_url": f"{served.url}/v1", "api_key": KEY, "max_retries": 0}


def joined(lines: Iterable[str]) -> bytes:
    """The file that events carry."""
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    assert [event["type"] for event in events[:-1]] == ["speech.audio.delta"] * (len(events) - 1)
    assert events[-1]["type"] == "speech.audio.done"
    return b"".join(base64.b64decode(event["audio"]) for event in events[:-1])


def whole(served: Served, name: str) -> bytes:
    return bytes(openai.OpenAI(**address(served)).audio.speech.create(**options(name)).content)


def streamed(served: Served, name: str) -> bytes:
    speech = openai.OpenAI(**address(served)).audio.speech.with_streaming_response
    with speech.create(**options(name)) as answer:
        return b"".join(answer.iter_bytes())


def as_events(served: Served, name: str) -> bytes:
    speech = openai.OpenAI(**address(served)).audio.speech.with_streaming_response
    with speech.create(**options(name, stream_format="sse")) as answer:
        return joined(answer.iter_lines())


def asynchronous(served: Served, name: str) -> bytes:
    async def speak() -> bytes:
        async with openai.AsyncOpenAI(**address(served)) as client:
            return bytes((await client.audio.speech.create(**options(name))).content)

    return asyncio.run(speak())


def asynchronous_streamed(served: Served, name: str) -> bytes:
    async def speak() -> bytes:
        async with openai.AsyncOpenAI(**address(served)) as client:
            speech = client.audio.speech.with_streaming_response
            async with speech.create(**options(name)) as answer:
                return b"".join([part async for part in answer.iter_bytes()])

    return asyncio.run(speak())


def asynchronous_events(served: Served, name: str) -> bytes:
    async def speak() -> bytes:
        async with openai.AsyncOpenAI(**address(served)) as client:
            speech = client.audio.speech.with_streaming_response
            async with speech.create(**options(name, stream_format="sse")) as answer:
                return joined([line async for line in answer.iter_lines()])

    return asyncio.run(speak())


WAYS = (whole, streamed, as_events, asynchronous, asynchronous_streamed, asynchronous_events)


def seconds_in(content: bytes, name: str) -> float:
    """Of a file as a player decodes it."""
    if name == "pcm":
        return len(content) / 2 / RATE_HZ
    with av.open(io.BytesIO(content)) as container:
        frames = [*container.decode(audio=0)]
    return float(sum(frame.samples for frame in frames) / frames[0].sample_rate)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_way_gives_every_format_in_its_length(
    served: Served, tts: TTS, way: Callable[[Served, str], bytes], name: str
) -> None:
    content, seconds = way(served, name), seconds_of(tts)
    assert abs(seconds_in(content, name) - seconds) <= TOLERANCE * seconds
    if name == "pcm":
        audio = tts.synthesize(LONG).audio
        assert content == encode_whole("pcm", [audio], tts.sample_rate, RATE_HZ)


@pytest.mark.parametrize("way", WAYS)
def test_no_way_takes_a_part_for_the_whole(
    tts: TTS, way: Callable[[Served, str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tts, keys=(KEY.encode(),)) as failing:
        fail_after(monkeypatch, chunks=12)
        with pytest.raises(Exception, match=r"(?i)connection|incomplete|peer closed"):
            way(failing, "pcm")
        failing.wait_until_idle()


def test_errors_have_classes_and_words(served: Served, tts: TTS) -> None:
    client = openai.OpenAI(**address(served))
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.speech.create(**options("pcm", voice="nobody"))
    assert (refused.value.param, refused.value.code) == ("voice", "invalid_voice")
    assert "no voice 'nobody'" in refused.value.message
    assert refused.value.request_id.startswith("req_")
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-9'"):
        client.audio.speech.create(**options("pcm", model="gpt-9"))
    stranger = openai.OpenAI(**address(served) | {"api_key": "another"})
    with pytest.raises(openai.AuthenticationError, match="a key is missing or wrong"):
        stranger.models.list()


def test_a_full_server_is_asked_again_when_it_said_so(tts: TTS, held: threading.Event) -> None:
    """The client waits for as long as `Retry-After` says, and is served then."""
    held.set()
    with serving(tts, SchedulerLimits(rows=1, waiting=0), keys=(KEY.encode(),)) as full:
        held.clear()
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(whole, full, "pcm")
            until(lambda: full.scheduler.load().speaking == 1)
            threading.Timer(0.3, held.set).start()
            patient = openai.OpenAI(**address(full) | {"max_retries": 2})
            second = patient.audio.speech.create(**options("pcm")).content
        assert second == first.result()
        refused = 'requests_total{route="speech",status="429"} 1.0'
        assert refused in full.app.state.metrics.text().decode()
