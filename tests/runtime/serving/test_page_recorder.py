"""A voice from the microphone: Chromium records what a file plays to it, and the page keeps it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import serving, until
from tests.runtime.serving.test_page import Browser, needs_browser
from tests.runtime.serving.test_voices import wav
from tests.speech_like import speak


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """Its microphone hears a file again and again."""
    heard = tmp_path / "heard.wav"
    heard.write_bytes(wav(np.tile(speak(12), 4)))
    browser = Browser(
        tmp_path / "profile",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}",
    )
    yield browser
    browser.close()


@needs_browser
def test_a_recording_of_the_microphone_becomes_a_voice(
    browser: Browser, tts: TTS, tmp_path: Path
) -> None:
    with serving(tts, voices_folder=tmp_path / "voices") as served:
        browser.open(served.url)
        browser.ask("document.getElementById('more').open = true")
        assert browser.ask("document.getElementById('recorder').hidden") is False
        browser.ask("document.getElementById('record').click()")
        until(lambda: browser.text("status") == "Recording")
        until(lambda: browser.text("record-text") not in ("", "0 s"))
        time.sleep(2.0)
        browser.ask("document.getElementById('record').click()")
        until(lambda: browser.text("status").startswith("Recorded"))
        file = "document.getElementById('sample').files[0]"
        assert browser.ask(f"{file}.type").startswith("audio/webm")
        browser.ask("document.getElementById('name').value = 'anna'")
        browser.ask("document.getElementById('consent').value = 'She read it for us.'")
        browser.ask("document.getElementById('upload').requestSubmit()")
        until(lambda: browser.text("status").startswith(("The voice is kept", "It failed")))
        assert browser.text("status").startswith("The voice is kept")
        assert browser.ask("document.getElementById('voice').selectedOptions[0].text") == "anna"
    assert browser.troubles() == []
