"""NVIDIA's client for Riva drives the server: all samples, lengths, errors, and an end to the work.

It also says which numbers its fields have, and the server's own messages are held to them.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import soundfile

from runtime.serving.encoding import encode_whole
from runtime.speech.synthesis import TTS
from tests.clients.conftest import (
    KEY,
    LONG,
    ROOT,
    TOLERANCE,
    Listen,
    fail_after,
    python_of,
    seconds_of,
)
from tests.runtime.serving.conftest import Served, serving

pytest.importorskip("grpc")
DEFAULT_HZ = 22_050  # that the client asks for unless told otherwise
OGGOPUS = 4
PAGE = ROOT / "docs" / "riva.md"


@pytest.fixture(scope="module")
def served(tts: TTS) -> Iterator[Served]:
    python_of("riva")  # or skip, before a server begins
    with serving(tts, has_grpc=True, keys=(KEY.encode(),), language="en-US") as server:
        yield server


def order(do: str = "stream", **options: Any) -> dict[str, Any]:
    return {"do": do, "text": LONG} | options


@pytest.mark.parametrize("do", ["whole", "stream"])
def test_samples_and_lengths_are_those_of_http(
    served: Served, tts: TTS, listen: Listen, do: str
) -> None:
    rates = (DEFAULT_HZ, tts.sample_rate, 24_000, 48_000)
    orders = [order(do, sample_rate_hz=rate) for rate in rates]
    seconds = seconds_of(tts)
    for rate_hz, heard in zip(rates, listen(served, "riva", *orders), strict=True):
        assert heard.errors == []
        assert abs(heard.seconds - seconds) <= TOLERANCE * seconds
        body = {"input": LONG, "response_format": "pcm", "sample_rate": rate_hz}
        headers = {"authorization": f"Bearer {KEY}"}
        answer = httpx.post(f"{served.url}/v1/audio/speech", json=body, headers=headers, timeout=60)
        np.testing.assert_array_equal(heard.samples, np.frombuffer(answer.content, "<i2"))


def test_what_the_client_asks_for_by_itself(served: Served, tts: TTS, listen: Listen) -> None:
    [heard] = listen(served, "riva", order("whole"))
    pcm = encode_whole("pcm", [tts.synthesize(LONG).audio], tts.sample_rate, DEFAULT_HZ)
    np.testing.assert_array_equal(heard.samples, np.frombuffer(pcm, "<i2"))


def test_texts_of_a_stream_sound_as_one(served: Served, tts: TTS, listen: Listen) -> None:
    texts = ["Abc.", "Abcdef abc."]
    [heard] = listen(served, "riva", order(text=texts, sample_rate_hz=tts.sample_rate))
    pcm = encode_whole("pcm", [tts.synthesize(" ".join(texts)).audio], tts.sample_rate)
    np.testing.assert_array_equal(heard.samples, np.frombuffer(pcm, "<i2"))


def test_opus_has_its_length(served: Served, tts: TTS, listen: Listen, tmp_path: Path) -> None:
    asked = order(encoding=OGGOPUS, sample_rate_hz=48_000)
    [heard] = listen(served, "riva", asked)
    assert heard.errors == []
    samples, rate_hz = soundfile.read(io.BytesIO((tmp_path / "riva-0.audio").read_bytes()))
    assert abs(len(samples) / rate_hz - seconds_of(tts)) <= TOLERANCE * seconds_of(tts)


def test_voices_that_it_lists_are_spoken_with(served: Served, tts: TTS, listen: Listen) -> None:
    [listed] = listen(served, "riva", {"do": "voices"})
    model = served.app.state.speaking.model
    assert f"{model}.joe" in listed.told["voices"]
    asked = order("whole", voice_name=listed.told["voices"][0])
    [heard] = listen(served, "riva", asked)
    assert (heard.errors, round(heard.seconds, 2)) == ([], round(seconds_of(tts), 2))


@pytest.mark.parametrize("do", ["whole", "stream"])
def test_refusals_are_statuses(served: Served, listen: Listen, do: str) -> None:
    asked: dict[str, dict[str, Any]] = {
        "UNAUTHENTICATED: a key is missing": {"key": "a-key-of-somebody-else"},
        "INVALID_ARGUMENT: no voice 'nobody'": {"voice_name": "nobody"},
        "INVALID_ARGUMENT: text is SSML": {"text": "<speak>Abc.</speak>"},
        "INVALID_ARGUMENT: encoding MULAW is not offered": {"encoding": 3},
        "INVALID_ARGUMENT: language_code is 'de-DE'": {"language_code": "de-DE"},
    }
    orders = [order(do, **options) for options in asked.values()]
    for words, heard in zip(asked, listen(served, "riva", *orders), strict=True):
        assert heard.errors[0].startswith(words)
        assert not len(heard.samples)


@pytest.mark.parametrize("do", ["whole", "stream"])
def test_a_speech_that_fails_midway_is_an_error(
    tts: TTS, listen: Listen, do: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    python_of("riva")
    with serving(tts, has_grpc=True) as failing:
        fail_after(monkeypatch, chunks=12)
        [heard] = listen(failing, "riva", order(do))
        failing.wait_until_idle()
    assert [error.split(":")[0] for error in heard.errors] == ["INTERNAL"]
    assert bool(len(heard.samples)) is (do == "stream")


def test_who_leaves_ends_the_work(served: Served, listen: Listen) -> None:
    [heard] = listen(served, "riva", order(text=" ".join([LONG] * 20), leave_after=3))
    assert 0 < heard.seconds < 20
    served.wait_until_idle()


def test_the_page_runs(tts: TTS) -> None:
    [code] = re.findall(r"```py\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    python = python_of("riva")
    with serving(tts, has_grpc=True) as server:
        here = code.replace("127.0.0.1:50051", server.grpc)
        assert here != code
        done = subprocess.run([str(python), "-c", here], capture_output=True, text=True, timeout=60)
    audio = tts.synthesize("They know it.").audio
    size = len(encode_whole("pcm", [audio], tts.sample_rate, 24_000))
    assert (done.stdout, done.stderr) == (f"{size} bytes\n", "")


def test_fields_have_the_clients_numbers(served: Served, listen: Listen) -> None:
    from runtime.serving.riva import messages

    [listed] = listen(served, "riva", {"do": "fields"})
    theirs = {name: rest for name, *rest in listed.told["fields"]}
    ours = json.loads(json.dumps(dict(fields_of(messages))))
    assert len(ours) >= 15
    assert ours == {name: theirs[name] for name in ours}
    assert listed.told["encodings"] == messages.ENCODINGS


def fields_of(messages: Any) -> Iterator[tuple[str, tuple[int, int, bool]]]:
    waiting = [
        messages.SynthesizeSpeechRequest.DESCRIPTOR,
        messages.SynthesizeSpeechResponse.DESCRIPTOR,
        messages.SynthesisConfigRequest.DESCRIPTOR,
        messages.SynthesisConfigResponse.DESCRIPTOR,
    ]
    for message in waiting:
        for field in message.fields:
            yield (
                f"{message.full_name}.{field.name}",
                (field.number, field.type, field.is_repeated),
            )
            of = field.message_type
            if of is not None and not of.GetOptions().map_entry and of not in waiting:
                waiting.append(of)
