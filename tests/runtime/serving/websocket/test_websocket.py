"""Text in, audio out: what is said, in which order, and that it is what the whole text says."""

from __future__ import annotations

import io
import random
import threading
from typing import Any

import numpy as np
import pytest
import soundfile

from runtime.audio.sound import to_pcm16
from runtime.scheduling.limits import Load
from runtime.speech.sampling import Sampling
from tests.runtime.serving.conftest import SEED, Served, until
from tests.runtime.serving.websocket.conftest import NATIVE, Caller, calling

TEXT = "Abc. Abcdef abc! Does ab? The abc. Abcdef."


def alone(served: Served, text: str, voice: str = "plain") -> bytes:
    speech = served.tts.synthesize(text, voice=voice, sampling=Sampling(seed=SEED))
    return to_pcm16(speech.audio)


def test_a_text_in_pieces_is_the_whole_text(served: Served, caller: Caller) -> None:
    """At any cuts: the same samples, and the pauses between sentences."""
    whole = alone(served, TEXT)
    for number in range(4):
        random.seed(number)
        cuts = sorted(random.choices(range(len(TEXT)), k=3 * number))
        for start, end in zip([0, *cuts], [*cuts, len(TEXT)], strict=True):
            caller.send("input.text", text=TEXT[start:end])
        caller.send("input.done")
        events, audio = caller.hear()
        assert audio == whole
        kinds = [event["type"] for event in events]
        assert kinds == ["audio.start", "audio.done"] * 5 + ["session.done"]
        starts = events[:-1:2]
        assert " ".join(start["sentence_text"] for start in starts) == TEXT
        assert [start["sentence_index"] for start in starts] == [0, 1, 2, 3, 4]
        assert {event["utterance_index"] for event in events} == {number}
        assert events[-1]["total_sentences"] == 5
        assert sum(event["total_bytes"] for event in events[1::2]) == len(audio)
        assert not any(event["error"] for event in events[1::2])
        rates = {(start["format"], start["sample_rate"], start["channels"]) for start in starts}
        assert rates == {("pcm", 16_000, 1)}


def test_a_sentence_is_spoken_before_the_text_ends(caller: Caller) -> None:
    caller.send("input.text", text="Abc. The ab")
    assert caller.event()["sentence_text"] == "Abc."
    assert caller.event()["type"] == "audio.done"
    caller.send("input.text", text="c. ")
    event = caller.event(5)  # after a pause
    assert event["sentence_text"] == "The abc."
    caller.send("input.done")
    events, _ = caller.hear()
    assert events[-1]["total_sentences"] == 2


def test_granularities(served: Served, caller: Caller) -> None:
    events, audio = caller.say(TEXT, **NATIVE, split_granularity="none")
    assert [event["type"] for event in events] == ["audio.start", "audio.done", "session.done"]
    assert events[0]["sentence_text"] == TEXT
    assert audio == alone(served, TEXT)
    text = "Abcdef abc abc, defabc abcdef. Abc."
    events, _ = caller.say(text, **NATIVE, split_granularity="clause")
    said = [event["sentence_text"] for event in events if event["type"] == "audio.start"]
    assert said == ["Abcdef abc abc,", "defabc abcdef.", "Abc."]


@pytest.mark.parametrize("name", ["wav", "mp3", "opus", "pcm"])
def test_a_sentence_is_one_file_unless_it_is_streamed(served: Served, name: str) -> None:
    with calling(served) as caller:
        caller.send("session.config", voice="plain", response_format=name)
        caller.send("input.text", text="Abc. Abcdef abc.")
        caller.send("input.done")
        messages = [caller.next() for _ in range(7)]
    files = [message for message in messages if isinstance(message, bytes)]
    assert len(files) == 2
    start = messages[0]
    assert isinstance(start, dict)
    assert (start["format"], start["sample_rate"]) == (name, 24_000 if name == "pcm" else 16_000)
    if name != "pcm":
        samples, rate = soundfile.read(io.BytesIO(files[1]))
        length = len(served.tts.synthesize("Abcdef abc.", voice="plain").audio) / 16_000
        assert abs(len(samples) / rate - length - 0.2) < 0.2  # mp3 adds to its ends


def test_defaults_are_those_of_the_protocol(served: Served) -> None:
    with calling(served) as caller:
        caller.send("session.config")
        events, audio = caller.say("Abc.")
    assert events[0]["format"] == "wav"
    assert int.from_bytes(audio[40:44], "little") == len(audio) - 44


def test_speed(served: Served, caller: Caller) -> None:
    text = " ".join([TEXT] * 5)
    _, slow = caller.say(text, **NATIVE | {"speed": 0.5, "split_granularity": "none"})
    assert len(slow) == pytest.approx(2 * len(alone(served, text)), rel=0.02)


def test_voices_and_settings_count_from_the_next_utterance(served: Served, caller: Caller) -> None:
    caller.send("input.text", text="Abc.")
    caller.send("session.config", voice="other")
    error = caller.event()
    assert (error["type"], error["code"]) == ("error", "utterance_is_open")
    caller.send("input.done")
    caller.send("session.config", **NATIVE | {"voice": "other"})
    caller.send("input.text", text="Abc.")
    caller.send("input.done")
    _, first = caller.hear()
    _, second = caller.hear()
    assert first == alone(served, "Abc.")
    assert second == alone(served, "Abc.", "other")
    assert np.frombuffer(first, "<i2").tolist() != np.frombuffer(second, "<i2").tolist()


@pytest.mark.parametrize("text", ["", " \n", "… !!!", "\N{GRINNING FACE}"])
def test_text_without_words_is_skipped(caller: Caller, text: str) -> None:
    events, audio = caller.say(text)
    assert events == [{"type": "session.done", "utterance_index": 0, "total_sentences": 0}]
    assert not audio
    events, audio = caller.say("Abc.")
    assert audio
    assert events[-1]["utterance_index"] == 1


def test_cancel_stops_within_a_step(served: Served, held: threading.Event) -> None:
    with calling(served) as caller:
        caller.send("session.config", **NATIVE)
        caller.send("input.text", text=" ".join(["Abcdef abc."] * 200))
        caller.send("input.done")
        caller.send("input.text", text="Abc. Another abc. Ab")
        until(lambda: served.scheduler.load().speaking == 1)
        caller.send("input.cancel")
        events, audio = caller.hear("audio.cancelled")
        assert len(events) <= 2
        assert events[-1]["sentence_index"] == 0
        assert events[-1]["utterance_index"] == 0
        held.set()
        served.wait_until_idle()
        events, audio = caller.say("Abc.")
        assert audio == alone(served, "Abc.")
        assert [event["type"] for event in events] == ["audio.start", "audio.done", "session.done"]
        assert events[-1]["utterance_index"] == 2


def test_cancel_in_the_middle_of_audio(served: Served, caller: Caller) -> None:
    for _ in range(5):
        caller.send("input.text", text=" ".join(["Abcdef abc."] * 300))
        assert caller.event()["type"] == "audio.start"
        assert isinstance(caller.next(), bytes)
        caller.send("input.cancel")
        events, _ = caller.hear("audio.cancelled")
        assert events[-1]["reason"] == "cancelled"
        served.wait_until_idle()
    _, audio = caller.say("Abc.")
    assert audio == alone(served, "Abc.")


def test_cancel_with_nothing_to_cancel(caller: Caller) -> None:
    caller.send("input.cancel")
    assert caller.event() == {
        "type": "audio.cancelled",
        "utterance_index": 0,
        "sentence_index": None,
        "reason": "cancelled",
    }


def test_session_close_says_what_was_given(served: Served, caller: Caller) -> None:
    caller.send("input.text", text=TEXT)
    caller.send("input.done")
    caller.send("session.close")
    _, audio = caller.hear()
    assert audio == alone(served, TEXT)
    assert caller.end_code() == 1000


def test_many_at_once_do_not_hear_each_other(served: Served) -> None:
    """More than there are rows: those who hear their utterance are not refused."""
    heard: dict[int, Any] = {}
    texts = {number: f"Abc {'abc ' * number}. Abcdef. Ab {number} abc." for number in range(8)}

    def listen(number: int) -> None:
        voice = ("plain", "other")[number % 2]
        with calling(served) as caller:
            heard[number] = caller.say(texts[number], **NATIVE | {"voice": voice})[1]

    threads = [threading.Thread(target=listen, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number, text in texts.items():
        assert heard[number] == alone(served, text, ("plain", "other")[number % 2])
    assert served.scheduler.load() == Load(0, 0, 4)
