"""Several texts in one request: each as if it were alone, and a bad one harms no other."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import pytest

from runtime.scheduling.limits import Overloaded, SchedulerLimits
from runtime.scheduling.speech import Order, Speech
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import SEED, SENTENCE, Served, serving, until

LONG = " ".join(["Abcdef abc."] * 30)


def ask(served: Served, *items: Any, **shared: Any) -> httpx.Response:
    url = f"{served.url}/v1/audio/speech/batch"
    return httpx.post(url, json={"items": items} | shared, timeout=60)


def alone(served: Served, **fields: Any) -> httpx.Response:
    """The same text by itself, as a whole file."""
    body = {"stream": False, "response_format": "wav"} | fields
    return httpx.post(f"{served.url}/v1/audio/speech", json=body, timeout=60)


def taken(served: Served) -> int:
    """Texts that wait or are spoken."""
    load = served.scheduler.load()
    return load.waiting + load.speaking


def item(text: Any = SENTENCE, **fields: Any) -> dict[str, Any]:
    return {"input": text, "seed": SEED} | fields


def test_each_text_is_spoken_as_if_it_were_alone(served: Served) -> None:
    items = [
        item(LONG),
        item("A.", voice="other", response_format="flac"),
        item(seed=2, response_format="mp3", speed=2.0),
        item(response_format="pcm"),
        item(voice=None, response_format=None),
    ]
    told = ask(served, *items, voice="plain", model="tts-1").json()
    assert (told["total"], told["succeeded"], told["failed"]) == (5, 5, 0)
    assert told["id"].startswith("req_")
    for index, (each, result) in enumerate(zip(items, told["results"], strict=True)):
        fields = {name: value for name, value in each.items() if value is not None}
        answer = alone(served, **{"voice": "plain"} | fields)
        assert (result["index"], result["status"], result["error"]) == (index, "success", None)
        assert base64.b64decode(result["audio_data"]) == answer.content
        assert result["media_type"] == answer.headers["content-type"]
        assert result["usage"]["output_tokens"] > 0
        assert result["finish_reason"] == "stop"


def test_a_bad_text_is_told_and_the_others_are_spoken(served: Served) -> None:
    bad = [
        (item(voice="nobody"), "no voice 'nobody'"),
        (item("..."), "no letter or digit"),
        (item(""), "input is empty"),
        ({"voice": "plain"}, "input"),
        (item(7), "Expected `str`"),
        (item(response_format="ogg"), "response_format must be one of"),
        (item(model="gpt-9"), "no model 'gpt-9'"),
        (item(speed=9), "speed must lie"),
    ]
    told = ask(served, *(each for each, _ in bad), item("A.")).json()
    assert (told["succeeded"], told["failed"]) == (1, len(bad))
    for (_, said), result in zip(bad, told["results"][:-1], strict=True):
        assert (result["status"], result["audio_data"]) == ("error", None)
        assert said in result["error"]
    assert told["results"][-1]["status"] == "success"


@pytest.mark.parametrize(
    "body",
    [
        *("[]", "{", "7", "{}", '{"items": []}', '{"items": 7}', '{"items": ["Hello."]}'),
        json.dumps({"items": [{"input": "A."}] * 33}),
        json.dumps({"items": [{"input": "A" * 50_001}] * 2}),
    ],
)
def test_what_is_no_batch_is_refused(served: Served, body: str) -> None:
    answer = httpx.post(f"{served.url}/v1/audio/speech/batch", content=body, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == (None if body == "{" else "items")


def test_files_that_are_too_large_together_are_refused_one_by_one(tts: TTS) -> None:
    with serving(tts, max_whole_bytes=100_000) as small:
        told = ask(small, item("A."), item(LONG)).json()
    assert [result["status"] for result in told["results"]] == ["success", "error"]
    assert "room for 100000 bytes" in told["results"][1]["error"]


def test_half_of_the_rows_is_left_to_listeners(tts: TTS, held: threading.Event) -> None:
    held.set()
    with serving(tts, SchedulerLimits(rows=4, waiting=4)) as served, ThreadPoolExecutor(2) as pool:
        held.clear()
        batch = pool.submit(ask, served, *[item()] * 8)
        until(lambda: taken(served) == 2)
        time.sleep(0.2)
        assert taken(served) == 2
        listener = pool.submit(alone, served, input="A.")
        until(lambda: taken(served) == 3)
        held.set()
        assert listener.result().status_code == 200
        assert batch.result().json()["succeeded"] == 8


def test_a_full_server_refuses_a_batch_at_once(tts: TTS, held: threading.Event) -> None:
    held.set()
    with serving(tts, SchedulerLimits(rows=1, waiting=0)) as served, ThreadPoolExecutor(1) as pool:
        held.clear()
        first = pool.submit(alone, served, input="A.")
        until(lambda: served.scheduler.load().speaking == 1)
        answer = ask(served, item())
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        held.set()
        assert first.result().status_code == 200


def test_a_text_waits_while_others_fill_the_queue(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = served.scheduler.submit
    refused: list[Order] = []

    def sometimes(order: Order) -> Speech:
        if len(refused) < 3:
            refused.append(order)
            raise Overloaded(1)
        return submit(order)

    monkeypatch.setattr(served.scheduler, "submit", sometimes)
    assert ask(served, item(), item("A.")).json()["succeeded"] == 2
    assert len(refused) == 3


def test_who_leaves_ends_the_work(tts: TTS, held: threading.Event) -> None:
    held.set()
    with serving(tts) as served:
        held.clear()
        content = json.dumps({"items": [item(LONG)] * 8}).encode()
        host, port = served.url.removeprefix("http://").split(":")
        head = f"POST /v1/audio/speech/batch HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}"
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(head.encode() + b"\r\n\r\n" + content)
            until(lambda: taken(served) == 2)
        held.set()
        served.wait_until_idle()
        assert (
            'aborted_total{reason="left"} 1.0'
            in httpx.get(f"{served.url}/metrics", timeout=60).text
        )
