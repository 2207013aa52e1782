"""Servers are asked in their own words, and what is no sample is taken off what they answer."""

from __future__ import annotations

import io
import json
import wave
from urllib.parse import parse_qs

import pytest

from benchmarks.serving.asking import Ask
from benchmarks.serving.interfaces import INTERFACES, without_header
from benchmarks.serving.load import make_parser
from benchmarks.serving.targets import Broken

ASK = Ask("Rain & sun, 50%.", "joe", 7)
SAMPLES = bytes(range(200))


def wav(rate_hz: int = 22_050, channels: int = 1) -> bytes:
    sink = io.BytesIO()
    with wave.open(sink, "wb") as file:
        file.setparams((channels, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(SAMPLES)
    return sink.getvalue()


def test_each_interface_says_the_text_and_more_fields() -> None:
    body = json.loads(INTERFACES["openai"].body(ASK, {"model": "kokoro"}))
    assert body["input"] == ASK.text
    assert (body["model"], body["voice"], body["seed"]) == ("kokoro", "joe", 7)
    assert json.loads(INTERFACES["piper"].body(ASK, {"speaker_id": 1})) == {
        "text": ASK.text,
        "speaker_id": 1,
    }
    assert parse_qs(INTERFACES["pocket-tts"].body(ASK, {}).decode()) == {"text": [ASK.text]}


def test_the_command_offers_all_of_them() -> None:
    (api,) = (action for action in make_parser()._actions if action.dest == "api")
    assert {*(api.choices or ())} == {*INTERFACES}


@pytest.mark.parametrize("size", [1, 3, 44, 45, 1000])
def test_a_header_is_taken_off_wherever_pieces_end(size: int) -> None:
    whole = wav()
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert b"".join(without_header(pieces, 22_050)) == SAMPLES


def test_what_is_no_such_file_is_broken() -> None:
    for content, message in (
        (wav(16_000), "1 channels, 16000 Hz and 16 bits, not 1, 22050 and 16"),
        (wav(channels=2), "2 channels"),
        (b"", "no WAV file"),
        (b"RIFF", "no WAV file"),
        (b"x" * 10_000, "no WAV file"),
        (b"RIFFxxxxWAVEdataxxxx", "no WAV file"),
    ):
        with pytest.raises(Broken, match=message):
            [*without_header([content], 22_050)]
