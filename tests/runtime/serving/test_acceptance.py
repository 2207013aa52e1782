"""What users of such servers reported as bugs, and which test holds each of them here.

Twenty points. Those that are tested elsewhere are named, and the names are checked; the rest is
tested in this file.
"""

from __future__ import annotations

import importlib
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import numpy as np
import pytest

from runtime.scheduling.limits import SchedulerLimits
from runtime.serving.encoding import HEADER_BYTES
from runtime.speech.sampling import Sampling
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import SEED, Served, serving
from tests.runtime.serving.test_speech import LONG, alone, ask

av = pytest.importorskip("av")

HERE = "tests.runtime.serving.test_acceptance"
SERVING = "tests.runtime.serving"
POINTS = {
    "1 cross-talk": (f"{SERVING}.test_speech", "test_many_at_once_hear_what_each_would_hear_alone"),
    "2 another's voice": (
        f"{SERVING}.test_speech",
        "test_many_at_once_hear_what_each_would_hear_alone",
    ),
    "3 a schedule that drifts": (
        f"{SERVING}.test_speech",
        "test_the_tenth_request_begins_as_the_first",
    ),
    "4 the tail is lost": (f"{SERVING}.test_speech", "test_streamed_is_whole_and_comes_in_parts"),
    "5 samples are lost between sentences": (
        HERE,
        "test_nothing_is_lost_or_added_between_sentences",
    ),
    "6 neighbours change the noise": (HERE, "test_a_seed_sounds_the_same_beside_other_seeds"),
    "7 overload ends the engine": (
        f"{SERVING}.test_refusals",
        "test_a_full_queue_refuses_at_once_and_works_again",
    ),
    "8 the queue collapses": (f"{SERVING}.test_refusals", "test_who_waits_too_long_is_told"),
    "9 speaks on for nobody": (
        f"{SERVING}.test_endings",
        "test_who_leaves_frees_the_row_at_once",
    ),
    "10 generators stay open": (
        f"{SERVING}.test_speaking",
        "test_a_cancelled_task_has_cancelled_its_speech",
    ),
    "11 closed while it is working": (HERE, "test_leaving_while_a_step_is_made_harms_nobody"),
    "12 a failure looks whole": (
        f"{SERVING}.test_injected_failures",
        "test_an_engine_that_raises_cuts_the_speech_and_speaks_the_next",
    ),
    "13 many headers, or a trailer": (HERE, "test_a_wav_has_one_header_and_nothing_behind_it"),
    "14 chunks behind the samples": (HERE, "test_a_wav_has_one_header_and_nothing_behind_it"),
    "15 the end of a file is lost": (HERE, "test_no_format_is_shorter_than_what_was_said"),
    "16 events are ignored": (
        "tests.clients.test_livekit",
        "test_every_format_has_its_length_as_bytes_and_as_events",
    ),
    "17 nothing to say": (f"{SERVING}.test_refusals", "test_a_wrong_request_is_told_what_is_wrong"),
    "17 nothing to say, over a WebSocket": (
        f"{SERVING}.websocket.test_websocket",
        "test_text_without_words_is_skipped",
    ),
    "17 nothing to say, over Wyoming": (
        f"{SERVING}.wyoming.test_wyoming",
        "test_text_without_words_ends_well",
    ),
    "18 hangs, or speaks twice": (f"{SERVING}.wyoming.test_wyoming", "test_the_order_of_events"),
    "19 names that are paths or addresses": (
        f"{SERVING}.test_refusals",
        "test_voices_that_are_files_are_not_opened",
    ),
    "20 played too fast": (
        "tests.clients.test_livekit",
        "test_samples_are_those_of_the_speech_from_first_to_last",
    ),
}


@pytest.mark.parametrize("point", POINTS)
def test_each_point_has_its_test(point: str) -> None:
    module, name = POINTS[point]
    assert callable(getattr(importlib.import_module(module), name))


def test_all_twenty_points_are_there() -> None:
    assert {int(point.split()[0]) for point in POINTS} == {*range(1, 21)}


def samples_behind_header(content: bytes) -> bytes:
    assert content[:4] == b"RIFF"
    assert content[36:40] == b"data"
    return content[HEADER_BYTES:]


def test_nothing_is_lost_or_added_between_sentences(served: Served) -> None:
    """Sentence by sentence, with their pauses, the samples of the whole text; over HTTP, too."""
    tts = served.tts
    chunks = [*tts.stream(LONG, voice="plain", sampling=Sampling(seed=SEED))]
    assert {chunk.sentences for chunk in chunks} == {30}
    joined = np.concatenate([chunk.audio for chunk in chunks])
    np.testing.assert_array_equal(joined, alone(tts, LONG))
    answer = ask(served, input=LONG, response_format="pcm", sample_rate=tts.sample_rate)
    assert len(answer.content) == 2 * len(joined)


def test_a_seed_sounds_the_same_beside_other_seeds(served: Served) -> None:
    first = ask(served, input=LONG, response_format="wav").content
    with ThreadPoolExecutor(8) as pool:
        seeds = [SEED, *range(100, 107)]
        heard = [*pool.map(lambda seed: with_seed(served, seed), seeds)]
    assert heard[0] == first
    assert len({*heard}) == len(seeds)


def with_seed(served: Served, seed: int) -> bytes:
    return ask(served, input=LONG, response_format="wav", seed=seed).content


@pytest.mark.parametrize("fields", [{}, {"stream": False}])
def test_a_wav_has_one_header_and_nothing_behind_it(
    served: Served, fields: dict[str, bool]
) -> None:
    content = ask(served, input=LONG, response_format="wav", **fields).content
    samples = samples_behind_header(content)
    assert len(samples) == 2 * len(alone(served.tts, LONG))
    assert content.count(b"RIFF") == content.count(b"data") == 1
    assert content.count(b"LIST") == 0


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac"])
@pytest.mark.parametrize("text", ["Abc.", LONG])
def test_no_format_is_shorter_than_what_was_said(served: Served, name: str, text: str) -> None:
    content = ask(served, input=text, response_format=name).content
    container_name = {"opus": "ogg"}.get(name, name)  # short files cannot be guessed
    with av.open(io.BytesIO(content), format=container_name) as container:
        frames = [*container.decode(audio=0)]
    seconds = sum(frame.samples for frame in frames) / frames[0].sample_rate
    assert seconds >= len(alone(served.tts, text)) / served.tts.sample_rate


@pytest.fixture
def busy(tts: TTS) -> Iterator[Served]:
    with serving(tts, SchedulerLimits(rows=3, waiting=64)) as served:
        yield served


def test_leaving_while_a_step_is_made_harms_nobody(busy: Served) -> None:
    """Twenty listeners leave at once, again and again, beside one who stays."""
    expected = ask(busy, input=LONG, response_format="wav").content
    heard: list[bytes] = []
    stays = threading.Thread(
        target=lambda: heard.append(ask(busy, input=LONG, response_format="wav").content)
    )
    stays.start()
    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(leave_soon, busy) for _ in range(20)]:
            done.result()
    stays.join()
    assert heard == [expected]
    busy.wait_until_idle()


def leave_soon(served: Served) -> None:
    body = {"input": LONG, "voice": "plain", "response_format": "pcm"}
    with httpx.stream("POST", f"{served.url}/v1/audio/speech", json=body, timeout=60) as answer:
        assert answer.status_code == 200
        next(answer.iter_bytes())
