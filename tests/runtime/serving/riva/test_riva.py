"""Riva's calls: the samples of HTTP, and mistakes as statuses."""

from __future__ import annotations

import io
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import soundfile

from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import SEED, SENTENCE, Served
from tests.runtime.serving.riva.conftest import CODE, KEY, LONG, Caller, alone, refused, seeded


def over_http(served: Served, text: str, **fields: Any) -> bytes:
    answer = httpx.post(
        f"{served.url}/v1/audio/speech",
        json={"input": text, "seed": SEED, "response_format": "pcm"} | fields,
        headers={"authorization": f"Bearer {KEY}"},
        timeout=60,
    )
    assert answer.status_code == 200
    return answer.content


@pytest.mark.parametrize("rate_hz", [0, 22_050, 48_000])
@pytest.mark.parametrize("voice", ["", "other"])
def test_samples_are_those_of_http(
    server: Served, caller: Caller, tts: TTS, rate_hz: int, voice: str
) -> None:
    fields = {"sample_rate": rate_hz or tts.sample_rate} | ({"voice": voice} if voice else {})
    expected = over_http(server, SENTENCE, **fields)
    asked = seeded(sample_rate_hz=rate_hz, voice_name=voice)
    assert caller.speak(SENTENCE, **asked) == expected
    parts = [each.audio for each in caller.stream([caller.request(SENTENCE, **asked)])]
    assert len(parts) > 1, "it comes in parts"
    assert b"".join(parts) == expected


def test_texts_of_a_stream_sound_as_one(caller: Caller, tts: TTS) -> None:
    """A text without words between them is passed over."""
    requests = [caller.request(text, **seeded()) for text in ("Abc.", "...", "Abcdef abc.")]
    heard = b"".join(each.audio for each in caller.stream(requests))
    assert heard == alone(tts, "Abc. Abcdef abc.")


def test_opus_has_its_length(caller: Caller, tts: TTS) -> None:
    heard = caller.speak(LONG, **seeded(encoding=4, sample_rate_hz=48_000))
    samples, rate_hz = soundfile.read(io.BytesIO(heard))
    seconds = len(alone(tts, LONG)) / 2 / tts.sample_rate
    assert rate_hz == 48_000
    assert len(samples) / rate_hz == pytest.approx(seconds, rel=0.02)
    assert np.abs(samples).max() > 0


def test_bytes_are_those_of_the_protocol(caller: Caller, tts: TTS) -> None:
    """Written by hand: a wrong number of a field would not be seen by messages of one's own."""
    text = b"\x0a\x04Abc."
    voice, seed = b"\x2a\x05other", b"\x42\x09\x0a\x04seed\x12\x017"
    identity = b"\xa2\x06\x04\x0a\x02id"
    answer = caller.raw("Synthesize", text + b"\x18\x01" + voice + seed + identity)
    audio = alone(tts, "Abc.", "other")
    size = len(audio)
    varint = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
    shortest = varint if size >> 14 else bytes([size & 127 | 128, size >> 7])
    assert answer == b"\x0a" + shortest + audio + identity


def test_what_it_has(caller: Caller, tts: TTS, server: Served) -> None:
    from runtime.serving.riva.messages import SynthesisConfigResponse

    answer = SynthesisConfigResponse.FromString(caller.raw("GetRivaSynthesisConfig", b""))
    [config] = answer.model_config
    told = dict(config.parameters)
    assert told["language_code"] == "en-US"
    assert told["sample_rate"] == str(tts.sample_rate)
    first = told["subvoices"].split(",")[1].split(":")[0]
    named = caller.speak(**seeded(voice_name=f"{told['voice_name']}.{first}"))
    assert named == alone(tts, "Abc.", "other")
    refused(lambda: caller.raw("GetRivaSynthesisConfig", b"\x0a\x01x"), CODE.NOT_FOUND)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"text": ""}, "text is empty"),
        ({"text": "..."}, "no letter or digit"),
        ({"text": "<speak>Abc.</speak>"}, "is SSML"),
        ({"text": ' <?xml version="1.0"?><speak>Abc.</speak>'}, "is SSML"),
        ({"text": "a" * 100_001}, "at most 100000"),
        ({"voice_name": "nobody"}, "no voice 'nobody'"),
        ({"voice_name": "../plain"}, "no voice"),
        ({"encoding": 2}, "FLAC is not offered"),
        ({"encoding": 3}, "MULAW is not offered"),
        ({"encoding": 77}, "77 is not offered"),
        ({"encoding": 4, "sample_rate_hz": 22_050}, "sample_rate_hz of opus must be one of 8000"),
        ({"sample_rate_hz": 4_000}, "sample_rate_hz must lie between 8000"),
        ({"sample_rate_hz": -1}, "must lie between 8000"),
        ({"language_code": "de-DE"}, "voices speak 'en-US'"),
        ({"custom_dictionary": "a  b"}, "custom_dictionary"),
        ({"enable_word_time_offsets": True}, "enable_word_time_offsets"),
        ({"zero_shot_data": {"audio_prompt": b"a"}}, "zero_shot_data"),
        ({"custom_configuration": {"seed": "-1"}}, "whole number"),
        ({"custom_configuration": {"seed": "9" * 20}}, "custom_configuration seed must lie"),
        ({"custom_configuration": {"mood": "1"}}, "'mood' is not known"),
    ],
)
def test_mistakes_are_told(caller: Caller, fields: dict[str, Any], words: str) -> None:
    error = refused(lambda: caller.speak(**fields), CODE.INVALID_ARGUMENT)
    assert words in error.details()
    stream = caller.stream([caller.request(**fields)])
    assert refused(lambda: list(stream), CODE.INVALID_ARGUMENT).details() == error.details()
