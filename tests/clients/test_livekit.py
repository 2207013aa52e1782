"""LiveKit's plugin drives the server: every format in its length, errors in words, no half speech.

Agents talk through it, so that a speech that is cut or plays too fast is heard by callers.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from runtime.scheduling.limits import SchedulerLimits
from runtime.serving.encoding import encode_whole
from runtime.speech.synthesis import TTS
from tests.clients.conftest import (
    FORMATS,
    LONG,
    RATE_HZ,
    TOLERANCE,
    Listen,
    ask,
    fail_after,
    python_of,
    seconds_of,
)
from tests.runtime.serving.conftest import Served, serving, until

MODELS = ("tts-1", "gpt-4o-mini-tts")  # it asks the first for bytes, any other for events
LOST_SECONDS = 0.03  # its decoder drops the first packet of opus and flac


def order(**options: Any) -> dict[str, Any]:
    return {"text": LONG, "voice": "alloy", "model": "tts-1", "response_format": "pcm"} | options


def test_every_format_has_its_length_as_bytes_and_as_events(
    served: Served, tts: TTS, listen: Listen
) -> None:
    wanted = [order(model=model, response_format=name) for model in MODELS for name in FORMATS]
    seconds = seconds_of(tts)
    for each, heard in zip(wanted, listen(served, "livekit", *wanted), strict=True):
        assert heard.errors == []
        assert heard.rates == [RATE_HZ], each
        assert abs(heard.seconds - seconds) <= TOLERANCE * seconds, each
        assert heard.seconds > seconds - LOST_SECONDS, each


@pytest.mark.parametrize("model", MODELS)
def test_samples_are_those_of_the_speech_from_first_to_last(
    served: Served, tts: TTS, listen: Listen, model: str
) -> None:
    [heard] = listen(served, "livekit", order(model=model))
    pcm = encode_whole("pcm", [tts.synthesize(LONG).audio], tts.sample_rate, RATE_HZ)
    expected = np.frombuffer(pcm, "<i2")
    np.testing.assert_array_equal(heard.samples[: len(expected)], expected)
    assert not heard.samples[len(expected) :].any(), "it fills its last frame with silence"


def test_speed_is_heard_in_the_length(served: Served, tts: TTS, listen: Listen) -> None:
    [heard] = listen(served, "livekit", order(speed=2.0))
    seconds = seconds_of(tts, speed=2.0)
    assert abs(heard.seconds - seconds) <= TOLERANCE * seconds


def test_refusals_are_told_in_words(served: Served, listen: Listen) -> None:
    asked = [order(voice="nobody"), order(model="gpt-9"), order(text="...")]
    voice, model, nothing = listen(served, "livekit", *asked)
    assert "no voice 'nobody'" in voice.errors[0]
    assert "no model 'gpt-9'" in model.errors[0]
    assert "no letter or digit" in nothing.errors[0]
    assert all("retryable=False" in each.errors[0] for each in (voice, model, nothing))


@pytest.mark.parametrize("model", MODELS)
def test_a_speech_that_fails_midway_is_an_error(
    tts: TTS, listen: Listen, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parser passes over error events, so only the cut connection tells it."""
    seconds = seconds_of(tts)
    with serving(tts) as failing:
        fail_after(monkeypatch, chunks=12)
        [heard] = listen(failing, "livekit", order(model=model))
        failing.wait_until_idle()
    assert 0 < heard.seconds < seconds
    assert [error.split(":")[0] for error in heard.errors] == ["APIConnectionError"]


def test_a_full_server_is_asked_again(tts: TTS, listen: Listen, held: threading.Event) -> None:
    python_of("livekit")  # or skip, before anybody waits for it
    held.set()
    with (
        serving(tts, SchedulerLimits(rows=1, waiting=0)) as full,
        ThreadPoolExecutor(2) as pool,
    ):
        held.clear()
        first = pool.submit(ask, full, "A.")
        until(lambda: full.scheduler.load().speaking == 1)
        second = pool.submit(listen, full, "livekit", order(retries=3))
        until(lambda: 'status="429"' in full.app.state.metrics.text().decode())
        held.set()
        assert first.result().status_code == 200
        [heard] = second.result()
    assert heard.errors == []
    assert abs(heard.seconds - seconds_of(tts)) <= TOLERANCE * seconds_of(tts)


def test_it_begins_again_by_itself(
    tts: TTS, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tts) as failing:
        fail_after(monkeypatch, chunks=12)
        [heard] = listen(failing, "livekit", order(retries=1))
        counted = failing.app.state.metrics.text().decode()
    assert heard.errors
    assert 'requests_total{route="speech",status="200"} 1.0' in counted
    assert 'requests_total{route="speech",status="500"} 1.0' in counted, "it asked again"


def test_who_interrupts_ends_the_work(served: Served, listen: Listen) -> None:
    [heard] = listen(served, "livekit", order(text=" ".join([LONG] * 20), leave_after=0.2))
    assert heard.seconds < 20
    assert heard.errors == []
    served.wait_until_idle()
