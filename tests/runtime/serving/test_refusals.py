"""What a server refuses, and how it says so: OpenAI's shape, always, and soon."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from commands.errors import UserError
from runtime.scheduling.limits import SchedulerLimits
from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.speech import State
from runtime.serving.guards import check_origins, read_keys
from runtime.serving.server import ConnectionLimits
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import SENTENCE, Served, serving, until

openai = pytest.importorskip("openai")
KEY = "a-key-of-some-length"


def ask(url: str, body: Any = None, **more: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps({"input": SENTENCE} | (body or {}))
    return httpx.post(f"{url}/v1/audio/speech", content=content, timeout=60, **more)


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error, after its shape was checked."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"input": ""}, "input", "is empty"),
        ({"input": " \n"}, "input", "is empty"),
        ({"input": "\N{GRINNING FACE}\N{SPARKLES}"}, None, "no letter or digit"),
        ({"input": 5}, "input", "Expected `str`, got `int`"),
        ({"input": None}, "input", "Expected `str`, got `null`"),
        ({"input": "a" * 100_001}, "input", "at most 100000"),
        ({"response_format": "ogg"}, "response_format", "must be one of mp3"),
        ({"speed": 0.1}, "speed", "between 0.25 and 4"),
        ({"speed": 5}, "speed", "between 0.25 and 4"),
        ({"seed": -1}, "seed", "between 0 and"),
        ({"sample_rate": 7}, "sample_rate", "must be one of"),
        ({"sample_rate": 10**9, "response_format": "wav"}, "sample_rate", "between"),
        ({"stream_format": "words"}, "stream_format", "Invalid enum value"),
        ({"voice": "nobody"}, "voice", "there are: plain, other"),
        ({"voice": "../engine/voices/plain.safetensors"}, "voice", "no voice"),
        ({"voice": "/etc/passwd"}, "voice", "no voice"),
        ({"voice": "http://127.0.0.1/voice.wav"}, "voice", "no voice"),
        ({"voice": {"id": "../../x"}}, "voice", "no voice"),
        (b"{", None, "not JSON"),
        (b'{"input": "Abc." "voice": "plain"}', None, "not JSON: JSON is malformed"),
        (b"input=Abc.", None, "(byte 0)"),
        (b'{"voice": "plain"}', "input", "missing required field"),
        (b"\xff\xfe", None, "not JSON"),
        (b"", None, "not JSON"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    served: Served, body: Any, param: str | None, said: str
) -> None:
    error = error_of(ask(served.url, body), 400)
    assert error["param"] == param
    assert said in error["message"]
    assert error["type"] == "invalid_request_error"


def test_voices_that_are_files_are_not_opened(served: Served, tmp_path: Path) -> None:
    path = served.tts.bundle.folder / "voices" / "plain.safetensors"
    assert path.is_file()
    error_of(ask(served.url, {"voice": str(path)}), 400)


def test_another_model_is_not_found(served: Served) -> None:
    assert error_of(ask(served.url, {"model": "kokoro"}), 404)["code"] == "model_not_found"
    caller = openai.OpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0)
    with pytest.raises(openai.NotFoundError, match="this server speaks with 'engine'") as told:
        caller.audio.speech.create(model="kokoro", voice="plain", input="Abc.")
    assert told.value.code == "model_not_found"
    assert told.value.request_id.startswith("req_")


def test_other_routes_and_methods_have_the_same_shape(served: Served) -> None:
    answer = httpx.get(f"{served.url}/v1/audio/speech", timeout=60)
    assert "takes POST" in error_of(answer, 405)["message"]
    assert answer.headers["allow"] == "POST"
    told = error_of(
        httpx.post(f"{served.url}/audio/speech", json={"input": "Abc."}, timeout=60), 404
    )
    assert told["message"].startswith("there is no POST '/audio/speech' here")
    assert "POST /v1/audio/speech" in told["message"]


def test_a_body_that_is_too_large_is_not_read(served: Served) -> None:
    error_of(ask(served.url, b"x" * (1024 * 1024 + 1)), 413)

    def chunks() -> Any:
        for _ in range(40):
            yield b"x" * 65_536

    error_of(httpx.post(f"{served.url}/v1/audio/speech", content=chunks(), timeout=60), 413)


@pytest.mark.parametrize("sent", ["", "Bearer wrong-key-of-a-length", "Basic " + KEY, "Bearer"])
def test_keys_are_asked_for(tts: TTS, sent: str) -> None:
    with serving(tts, keys=(b"another-key-of-a-length", KEY.encode())) as served:
        headers = {"authorization": sent} if sent else {}
        error = error_of(ask(served.url, headers=headers), 401)
        assert error["code"] == "invalid_api_key"
        assert KEY not in repr(served.app.state.speaking.settings)
        error_of(httpx.get(f"{served.url}/metrics", headers=headers, timeout=60), 401)
        assert httpx.get(f"{served.url}/health", headers=headers, timeout=60).status_code == 200
        answer = ask(served.url, headers={"authorization": f"Bearer {KEY}"})
        assert answer.status_code == 200


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# ours\n{KEY}\n\n  another-key-of-a-length \n")
    assert read_keys(path, None) == (KEY.encode(), b"another-key-of-a-length")
    assert read_keys(None, KEY) == (KEY.encode(),)
    assert read_keys(None, None) == ()
    path.write_text("# none\n")
    with pytest.raises(UserError, match="holds no key"):
        read_keys(path, None)
    path.write_text("short\n")
    with pytest.raises(UserError, match="shorter than 16"):
        read_keys(path, None)
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(UserError, match="keys: is not text; make one: python -c"):
        read_keys(path, None)
    with pytest.raises(UserError, match=r"none: cannot be read: .*; make one: python -c"):
        read_keys(tmp_path / "none", None)


def test_keys_are_read_as_editors_and_systems_write_them(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(f"\ufeff{KEY}\r\n  # the key of somebody\r\n".encode())
    assert read_keys(path, f"{KEY}\n") == (KEY.encode(), KEY.encode())
    for blank in (" ", "short"):
        with pytest.raises(UserError, match="the environment: a key is shorter than 16"):
            read_keys(path, blank)


def test_a_path_of_websockets_says_so(served: Served) -> None:
    answer = httpx.get(f"{served.url}/v1/audio/speech/stream", timeout=60)
    message = error_of(answer, 404)["message"]
    assert message.endswith("is no WebSocket; open one, and let proxies pass on Upgrade")


def test_an_origin_that_no_browser_sends_is_refused() -> None:
    check_origins(["*", "https://example.org", "http://127.0.0.1:3000"])
    for wrong in ("example.org", "https://example.org/", "https://example.org/page", ""):
        with pytest.raises(UserError, match="give scheme and host alone"):
            check_origins([wrong])


def test_pages_of_other_sites_may_not_call(tts: TTS) -> None:
    foreign = {"origin": "https://elsewhere.example"}
    with serving(tts) as served:
        assert error_of(ask(served.url, headers=foreign), 403)["code"] == "foreign_origin"
        assert ask(served.url, headers={"origin": served.url}).status_code == 200
        answer = httpx.get(f"{served.url}/health", headers=foreign, timeout=60)
        assert "access-control-allow-origin" not in answer.headers
    with serving(tts, origins=(foreign["origin"],)) as served:
        answer = ask(served.url, headers=foreign)
        assert answer.headers["access-control-allow-origin"] == foreign["origin"]
        error_of(ask(served.url, headers={"origin": "https://third.example"}), 403)


def test_a_full_queue_refuses_at_once_and_works_again(tts: TTS, held: threading.Event) -> None:
    held.set()
    with serving(tts, SchedulerLimits(rows=1, waiting=1)) as served:
        held.clear()
        others = [threading.Thread(target=ask, args=(served.url,)) for _ in range(2)]
        for number, other in enumerate(others):
            other.start()
            until(lambda n=number: sum(_busy(served.scheduler)) == n + 1)  # type: ignore[misc]
        with httpx.Client(timeout=60) as caller:
            caller.get(f"{served.url}/health")
            answer = caller.post(f"{served.url}/v1/audio/speech", json={"input": SENTENCE})
        assert not held.is_set(), "it was answered while no step could be made"
        assert error_of(answer, 429)["code"] == "overloaded"
        assert int(answer.headers["retry-after"]) >= 1
        held.set()
        for other in others:
            other.join()
        assert ask(served.url).status_code == 200


def _is_ended(caller: socket.socket) -> bool:
    try:
        return caller.recv(1) == b""
    except ConnectionResetError:
        return True


def _busy(scheduler: Scheduler) -> tuple[int, int]:
    load = scheduler.load()
    return load.waiting, load.speaking


def test_who_waits_too_long_is_told(tts: TTS, held: threading.Event) -> None:
    held.set()
    with serving(tts, SchedulerLimits(rows=1, waiting=9), deadline_seconds=1.0) as served:
        held.clear()
        other = threading.Thread(target=ask, args=(served.url,))
        other.start()
        until(lambda: _busy(served.scheduler) == (0, 1))
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(ask, served.url)
            until(lambda: _busy(served.scheduler) == (1, 1))
            time.sleep(1.0)  # counted from when it was taken, which is before
            held.set()
            answer = waits.result()
        assert error_of(answer, 503)["code"] == "waited_too_long"
        assert "retry-after" in answer.headers
        assert (
            'aborted_total{reason="expired"} 1.0'
            in httpx.get(f"{served.url}/metrics", timeout=60).text
        )
        other.join()


def test_a_server_that_cannot_speak_says_why(tts: TTS) -> None:
    with serving(tts, warm_up_text="\N{SPARKLES}") as served:
        for path in ("health", "ready", "v2/health/live", "v2/health/ready"):
            told = httpx.get(f"{served.url}/{path}", timeout=60)
            assert told.status_code == 503
            assert "no letter or digit" in told.json()["trouble"]
        assert error_of(ask(served.url), 503)["code"] == "not_ready"


def test_too_many_requests_and_connections_are_refused(tts: TTS, held: threading.Event) -> None:
    held.set()
    limits = ConnectionLimits(connections=3, drain_seconds=2)
    with serving(tts, connections=limits, max_requests=1) as served:
        held.clear()
        other = threading.Thread(target=ask, args=(served.url,))
        other.start()
        until(lambda: _busy(served.scheduler) == (0, 1))
        assert error_of(ask(served.url), 429)["code"] == "too_many_requests"
        assert httpx.get(f"{served.url}/health", timeout=60).status_code == 200
        host, port = served.url.removeprefix("http://").split(":")
        opened = [socket.create_connection((host, int(port))) for _ in range(4)]
        opened[-1].settimeout(60)
        assert _is_ended(opened[-1])
        for each in opened:
            each.close()
        held.set()
        other.join()


@pytest.mark.parametrize("begun", [b"", b"POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\n"])
def test_a_connection_that_says_nothing_is_ended(tts: TTS, begun: bytes) -> None:
    with serving(tts, connections=ConnectionLimits(header_seconds=0.2)) as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as caller:
            caller.sendall(begun)
            with suppress(ConnectionResetError):
                assert caller.recv(100) == b""


def test_a_slow_body_is_not_waited_for(tts: TTS) -> None:
    with serving(tts, body_seconds=0.2) as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as caller:
            head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n\r\n{"
            caller.sendall(head)
            assert caller.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_the_states_of_an_end_have_a_status() -> None:
    from runtime.serving.errors import CODES

    assert set(CODES) == {state for state in State if state.is_end and state is not State.DONE}
