"""Piper's routes: what its clients send is spoken, and the header is exactly what they cut off."""

from __future__ import annotations

import io
import wave
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest

from runtime.serving.encoding import HEADER_BYTES
from runtime.text.frontends import language_of
from tests.runtime.serving.conftest import SENTENCE, Served


def ask(served: Served, **fields: Any) -> httpx.Response:
    return httpx.post(f"{served.url}/synthesize", json={"text": SENTENCE} | fields, timeout=60)


def read(content: bytes) -> tuple[int, np.ndarray]:
    with wave.open(io.BytesIO(content)) as sound:
        return sound.getframerate(), np.frombuffer(sound.readframes(10**9), "<i2")


def test_a_text_is_spoken_at_the_rate_of_the_codec(served: Served) -> None:
    answer = ask(served, voice="plain")
    assert answer.headers["content-type"] == "audio/wav"
    rate_hz, samples = read(answer.content)
    assert rate_hz == 16_000
    assert len(answer.content) == HEADER_BYTES + 2 * len(samples)
    assert len(samples) == len(served.tts.synthesize(SENTENCE, voice="plain").audio)


def test_a_whole_file_says_its_length(served: Served) -> None:
    answer = ask(served, stream=False)
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert int.from_bytes(answer.content[40:44], "little") == len(answer.content) - HEADER_BYTES


def test_settings(served: Served) -> None:
    text = " ".join([SENTENCE] * 20)
    _, ordinary = read(ask(served, text=text).content)
    noise = {"noise_scale": 0.3, "noise_w_scale": 0.5, "speaker_id": 0}
    _, slow = read(ask(served, text=text, length_scale=2.0, **noise).content)
    assert len(slow) == pytest.approx(2 * len(ordinary), rel=0.02)
    _, other = read(ask(served, speaker="other").content)
    assert len(other)


@pytest.mark.parametrize(
    "fields",
    [
        {"text": ""},
        {"text": "\N{GRINNING FACE}"},
        {"text": None},
        {"voice": "../x"},
        {"voice": "en_US-lessac-medium"},
        {"length_scale": 0},
        {"length_scale": -1},
        {"length_scale": 99},
        {"length_scale": "x"},
    ],
)
def test_what_cannot_be_spoken_is_refused(served: Served, fields: dict[str, Any]) -> None:
    answer = ask(served, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": ""}, "text is empty; give a text"),
        ({"length_scale": 5}, "length_scale must lie between 0.25 and 4"),
    ],
)
def test_refusals_name_the_fields_of_piper(
    served: Served, fields: dict[str, Any], message: str
) -> None:
    error = ask(served, **fields).json()["error"]
    assert error["message"] == message
    assert error["param"] == next(iter(fields))


def test_voices(served: Served) -> None:
    voices = httpx.get(f"{served.url}/voices", timeout=60).json()
    assert list(voices)[:2] == ["plain", "other"]
    assert voices["plain"]["audio"]["sample_rate"] == 16_000
    assert voices["plain"]["num_speakers"] == 1


def test_languages_of_frontends() -> None:
    assert language_of({"kind": "none"}) is None
    assert language_of({"kind": "hibari"}) == "en-US"
    assert language_of({"kind": "hibari", "language": "en-gb"}) == "en-GB"
