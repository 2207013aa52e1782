"""Pipecat's services for OpenAI's speech, Piper's and NVIDIA's drive the server: all samples, and
errors in words."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from runtime.audio.sound import to_pcm16
from runtime.scheduling.limits import SchedulerLimits
from runtime.serving.encoding import encode_whole
from runtime.speech.synthesis import TTS
from tests.clients.conftest import (
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


def order(**settings: Any) -> dict[str, Any]:
    return {"text": LONG, "voice": "alloy", "model": "tts-1"} | settings


def test_the_samples_are_those_of_the_speech(served: Served, tts: TTS, listen: Listen) -> None:
    [heard] = listen(served, "pipecat", order())
    assert (heard.errors, heard.rates) == ([], [RATE_HZ])
    pcm = encode_whole("pcm", [tts.synthesize(LONG).audio], tts.sample_rate, RATE_HZ)
    np.testing.assert_array_equal(heard.samples, np.frombuffer(pcm, "<i2"))
    assert abs(heard.seconds - seconds_of(tts)) <= TOLERANCE * seconds_of(tts)


def test_speed_is_heard_in_the_length(served: Served, tts: TTS, listen: Listen) -> None:
    [heard] = listen(served, "pipecat", order(speed=2.0, model="gpt-4o-mini-tts"))
    seconds = seconds_of(tts, speed=2.0)
    assert heard.errors == []
    assert abs(heard.seconds - seconds) <= TOLERANCE * seconds


def test_a_pipeline_of_another_rate_knows_what_comes(
    served: Served, tts: TTS, listen: Listen
) -> None:
    [heard] = listen(served, "pipecat", order(pipeline_rate_hz=16_000))
    assert (heard.errors, heard.rates) == ([], [RATE_HZ])
    assert heard.seconds == seconds_of(tts)


def test_a_voice_of_the_bundle_is_heard_once_it_is_admitted(
    served: Served, tts: TTS, listen: Listen
) -> None:
    refused, heard = listen(served, "pipecat", order(voice="joe"), order(voice="joe", admit="joe"))
    assert "'joe' is not supported" in refused.errors[0]
    assert (heard.errors, heard.seconds) == ([], seconds_of(tts))


def test_its_service_for_piper_gets_the_codecs_own_samples(
    served: Served, tts: TTS, listen: Listen
) -> None:
    """It cuts 44 bytes of header off, and plays the rest at the rate that it was told."""
    piper = {"service": "piper", "text": LONG, "voice": "joe", "rate_hz": tts.sample_rate}
    heard, refused = listen(served, "pipecat", piper, piper | {"voice": "nobody"})
    assert (heard.errors, heard.rates) == ([], [tts.sample_rate])
    expected = np.frombuffer(to_pcm16(tts.synthesize(LONG).audio), "<i2")
    np.testing.assert_array_equal(heard.samples, expected)
    assert "no voice 'nobody'" in refused.errors[0]


def nvidia(**settings: Any) -> dict[str, Any]:
    return {"service": "nvidia", "text": "Abc. Abcdef abc. Abcdef.", "voice": "joe"} | settings


def test_its_service_for_nvidia_gets_the_samples(tts: TTS, listen: Listen) -> None:
    """Each text as a call of its own, and all texts of an answer in one."""
    pytest.importorskip("grpc")
    python_of("pipecat")
    modes = ("per_sentence", "stitched")
    orders = [nvidia(synthesis_mode=mode) for mode in modes]
    with serving(tts, has_grpc=True) as server:
        *heard, refused = listen(server, "pipecat", *orders, nvidia(voice="nobody"))
    pcm = encode_whole("pcm", [tts.synthesize(nvidia()["text"]).audio], tts.sample_rate, RATE_HZ)
    for each in heard:
        assert (each.errors, each.rates) == ([], [RATE_HZ])
        np.testing.assert_array_equal(each.samples, np.frombuffer(pcm, "<i2"))
    assert "no voice 'nobody'" in refused.errors[0]


@pytest.mark.parametrize("mode", ["per_sentence", "stitched"])
def test_an_interruption_ends_the_work_for_nvidias_service(
    tts: TTS, listen: Listen, mode: str
) -> None:
    pytest.importorskip("grpc")
    python_of("pipecat")
    long = nvidia(text=" ".join([LONG] * 20), synthesis_mode=mode, leave_after=0.2)
    with serving(tts, has_grpc=True) as server:
        [heard] = listen(server, "pipecat", long)
        assert heard.seconds < 20
        server.wait_until_idle()


def test_a_full_server_is_asked_thrice(tts: TTS, listen: Listen, held: threading.Event) -> None:
    held.set()
    with (
        serving(tts, SchedulerLimits(rows=1, waiting=0)) as full,
        ThreadPoolExecutor(1) as pool,
    ):
        held.clear()
        first = pool.submit(ask, full, "A.")
        until(lambda: full.scheduler.load().speaking == 1)
        [heard] = listen(full, "pipecat", order())
        held.set()
        assert first.result().status_code == 200
        counted = full.app.state.metrics.text().decode()
    assert "Error code: 429" in heard.errors[0]
    assert 'requests_total{route="speech",status="429"} 3.0' in counted


def test_refusals_are_told_in_words(served: Served, listen: Listen) -> None:
    model, nothing = listen(served, "pipecat", order(model="gpt-9"), order(text="..."))
    assert "no model 'gpt-9'" in model.errors[0]
    assert "no letter or digit" in nothing.errors[0]


def test_an_interruption_ends_the_work(served: Served, listen: Listen) -> None:
    [heard] = listen(served, "pipecat", order(text=" ".join([LONG] * 20), leave_after=0.2))
    assert heard.seconds < 20
    served.wait_until_idle()


def test_a_speech_that_fails_midway_is_an_error(
    tts: TTS, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = seconds_of(tts)
    with serving(tts) as failing:
        fail_after(monkeypatch, chunks=12)
        [heard] = listen(failing, "pipecat", order())
        failing.wait_until_idle()
    assert 0 < heard.seconds < seconds
    assert "peer closed connection" in heard.errors[0]
