"""`/v1/audio/speech` through OpenAI's own client: whole, streamed, as events, in every format."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import wave
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.audio.sound import to_pcm16
from runtime.serving.encoding import encode_whole, wav_header
from runtime.speech.sampling import Sampling
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import SEED, SENTENCE, Served, serving

av = pytest.importorskip("av")
openai = pytest.importorskip("openai")

LONG = " ".join(["Abcdef abc."] * 30)
SEEDED = {"seed": SEED}


def client(served: Served) -> Any:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0)


def alone(
    tts: TTS, text: str = SENTENCE, voice: str = "plain", seed: int = SEED
) -> NDArray[np.float32]:
    """What a text sounds like without a server."""
    return tts.synthesize(text, voice=voice, sampling=Sampling(seed=seed)).audio


def ask(served: Served, **fields: Any) -> httpx.Response:
    body = {"model": "tts-1", "input": SENTENCE, "voice": "plain"} | SEEDED | fields
    body = {key: value for key, value in body.items() if value is not None}
    return httpx.post(f"{served.url}/v1/audio/speech", json=body, timeout=60)


def decoded_seconds(content: bytes, name: str) -> float:
    if name == "pcm":
        return len(content) / 2 / 24_000
    with av.open(io.BytesIO(content)) as container:
        frames = [*container.decode(audio=0)]
    return float(sum(frame.samples for frame in frames) / frames[0].sample_rate)


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_openais_client_gets_every_format_in_its_length(served: Served, name: str) -> None:
    audio = alone(served.tts, LONG)
    answer = client(served).audio.speech.create(
        model="tts-1", voice="plain", input=LONG, response_format=name, extra_body=SEEDED
    )
    seconds = len(audio) / served.tts.sample_rate
    assert abs(decoded_seconds(answer.content, name) - seconds) <= 0.02 * seconds
    if name == "wav":
        assert answer.content == wav_header(served.tts.sample_rate) + to_pcm16(audio)
    if name == "flac":
        assert decoded_seconds(answer.content, name) == seconds
    if name == "pcm":
        assert answer.content == encode_whole("pcm", [audio], served.tts.sample_rate, 24_000)
    assert answer.response.headers["content-type"].startswith("audio/")
    assert answer.response.headers["x-request-id"].startswith("req_")


def test_mp3_is_what_is_sent_when_nothing_is_said(served: Served) -> None:
    answer = client(served).audio.speech.create(model="tts-1", voice="plain", input="Abc.")
    assert answer.response.headers["content-type"] == "audio/mpeg"


def test_streamed_is_whole_and_comes_in_parts(served: Served) -> None:
    speech = client(served).audio.speech.with_streaming_response
    options = {"model": "tts-1", "voice": "plain", "input": LONG, "response_format": "wav"}
    with speech.create(**options, extra_body=SEEDED) as answer:
        parts = [*answer.iter_bytes()]
    assert len(parts) > 2
    expected = wav_header(served.tts.sample_rate) + to_pcm16(alone(served.tts, LONG))
    assert b"".join(parts) == expected


def test_the_asynchronous_client_is_served(served: Served) -> None:
    async def speak() -> bytes:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="any") as caller:
            options = {"model": "tts-1", "voice": "other", "input": "Abc."}
            answer = await caller.audio.speech.create(**options, extra_body=SEEDED)
            return bytes(answer.content)

    assert decoded_seconds(asyncio.run(speak()), "mp3") > 0


def events(served: Served, **fields: Any) -> list[dict[str, Any]]:
    answer = ask(served, stream_format="sse", **fields)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n\n") if line]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_events_carry_one_file_and_end_with_usage(served: Served) -> None:
    told = events(served, response_format="wav", input=LONG)
    assert {event["type"] for event in told[:-1]} == {"speech.audio.delta"}
    assert len(told) > 3
    audio = b"".join(base64.b64decode(event["audio"]) for event in told[:-1])
    assert audio == wav_header(served.tts.sample_rate) + to_pcm16(alone(served.tts, LONG))
    usage = told[-1]["usage"]
    assert told[-1]["type"] == "speech.audio.done"
    assert usage["input_tokens"] + usage["output_tokens"] == usage["total_tokens"]
    frames = served.tts.synthesize(LONG, voice="plain", sampling=Sampling(seed=SEED)).frames
    assert usage["output_tokens"] == len(frames)


def test_a_whole_file_has_its_length(served: Served) -> None:
    answer = ask(served, stream=False, response_format="wav")
    assert int(answer.headers["content-length"]) == len(answer.content)
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.readframes(file.getnframes()) == to_pcm16(alone(served.tts))


def test_a_whole_file_is_not_endless(tts: TTS) -> None:
    with serving(tts, max_whole_bytes=10_000) as served:
        answer = ask(served, input=LONG, stream=False, response_format="wav")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream")
        assert ask(served, input=LONG, response_format="wav").status_code == 200
        served.wait_until_idle()


@pytest.mark.parametrize("speed", [0.25, 2.0, 4.0])
def test_speed_is_heard_in_the_length(served: Served, speed: float) -> None:
    seconds = len(alone(served.tts, LONG)) / served.tts.sample_rate / speed
    content = ask(served, input=LONG, speed=speed, response_format="flac").content
    assert abs(decoded_seconds(content, "flac") - seconds) <= 0.02 * seconds


def test_the_codecs_own_rate_is_sent_on_request(served: Served) -> None:
    answer = ask(served, response_format="pcm", sample_rate=16_000)
    assert answer.headers["x-sample-rate"] == "16000"
    assert answer.content == to_pcm16(alone(served.tts))
    assert ask(served, response_format="pcm").headers["x-sample-rate"] == "24000"


def test_many_at_once_hear_what_each_would_hear_alone(served: Served) -> None:
    """No request gets another's audio, voice or noise, whatever is spoken beside it."""
    texts = (SENTENCE, "A.", LONG, "Abcdef abc. Abc!")
    wanted = [
        {"input": text, "voice": voice, "seed": seed}
        for seed in (1, 2)
        for voice in ("plain", "other")
        for text in texts
    ]
    with ThreadPoolExecutor(len(wanted)) as pool:
        heard = [*pool.map(lambda each: ask(served, **each, response_format="wav"), wanted)]
    header = wav_header(served.tts.sample_rate)
    for each, answer in zip(wanted, heard, strict=True):
        audio = alone(served.tts, str(each["input"]), str(each["voice"]), int(str(each["seed"])))
        assert answer.content == header + to_pcm16(audio)
    assert len({answer.content for answer in heard}) > len(texts), "seeds and voices are heard"
    served.wait_until_idle()


def test_the_tenth_request_begins_as_the_first(served: Served) -> None:
    sizes = set()
    for _ in range(10):
        first = events(served, response_format="pcm", sample_rate=16_000)[0]
        sizes.add(len(base64.b64decode(first["audio"])))
    assert len(sizes) == 1


@pytest.mark.parametrize("voice", ["alloy", "nova", "marin", {"id": "other"}, None, ""])
def test_voices_have_aliases(served: Served, voice: Any) -> None:
    expected = "other" if voice in ("nova", "marin", {"id": "other"}) else "plain"
    content = ask(served, voice=voice, response_format="wav").content
    audio = alone(served.tts, voice=expected)
    assert content == wav_header(served.tts.sample_rate) + to_pcm16(audio)


@pytest.mark.parametrize("model", ["tts-1-hd", "gpt-4o-mini-tts-2025-03-20", "engine", None])
def test_models_have_aliases(served: Served, model: str | None) -> None:
    assert ask(served, model=model).status_code == 200


def test_fields_that_are_not_known_are_ignored(served: Served) -> None:
    answer = ask(served, instructions="Cheerfully.", lang_code="en", response_format="wav")
    audio = alone(served.tts)
    assert answer.content == wav_header(served.tts.sample_rate) + to_pcm16(audio)


def test_models_are_listed(served: Served) -> None:
    names = [model.id for model in client(served).models.list()]
    assert names[0] == "engine"
    assert "tts-1" in names
    assert client(served).models.retrieve("tts-1").id == "tts-1"
    listed = httpx.get(f"{served.url}/v1/audio/models", timeout=60).json()
    assert listed == {"models": [{"id": "engine"}]}
    assert httpx.get(served.url, timeout=60).status_code == 200, (
        "agents warm a connection up with it"
    )
