"""Faults of a server that runs as a process of its own: the listener is told or cut, never lied to.

Afterwards the rows are free, and who comes next is served if that is possible.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2 as httpx
import pytest

from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import until

ROOT = Path(__file__).parents[3]
LONG = " ".join(["Abcdef abc."] * 60)
SHORT = "Abc."
STEPS = 400  # of which the measurement and the warm-up take a part
CUT = (httpx.RemoteProtocolError, httpx.ReadError)
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
LISTENER = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1] + "/v1/audio/speech", sys.argv[2].encode())
with urllib.request.urlopen(request) as answer:
    answer.read(1)
    print("hears", flush=True)
    sys.stdin.read()
"""


class Server(NamedTuple):
    """said: lines of its standard error, all of them when it has ended."""

    process: subprocess.Popen[str]
    url: str
    said: list[str]

    def is_ready(self) -> bool:
        return httpx.get(f"{self.url}/ready", timeout=60).status_code == 200

    def load(self) -> tuple[int, int]:
        """How many are spoken and how many wait."""
        told = httpx.get(f"{self.url}/health", timeout=60).json()
        return told["speaking"], told["waiting"]

    def ask(self, **fields: Any) -> httpx.Response:
        body = {"input": SHORT, "voice": "plain"} | fields
        return httpx.post(f"{self.url}/v1/audio/speech", json=body, timeout=60)

    def hear(self, **fields: Any) -> tuple[bytes, bool]:
        """What came, and whether it was cut."""
        heard, body = b"", {"input": LONG, "voice": "plain", "response_format": "pcm"} | fields
        try:
            with httpx.stream(
                "POST", f"{self.url}/v1/audio/speech", json=body, timeout=60
            ) as answer:
                assert answer.status_code == 200, answer.read()
                for part in answer.iter_bytes():
                    heard += part
        except CUT:
            return heard, True
        return heard, False


@contextmanager
def failing(tts: TTS, fault: str, number: int = 0, *options: str) -> Iterator[Server]:
    """A server in which something goes wrong."""
    command = [sys.executable, "-m", "tests.runtime.serving.failing_server", fault, str(number)]
    own = ("--engine", str(tts.bundle.folder), "--port", "0", "--rows", "2", "--threads", "1")
    command += [*own, "--warm-up", SHORT, *options]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said: list[str] = []
            for line in process.stderr:
                said.append(line.rstrip())
                if found := re.search(r"listening on (\S+)", line):
                    server = Server(process, found.group(1), said)
                    until(server.is_ready)
                    yield server
                    break
            process.send_signal(signal.SIGTERM)
            said += process.stderr.read().splitlines()
            assert process.wait(60) == 0, said
        finally:
            process.kill()


@pytest.mark.parametrize("name", FORMATS)
def test_an_engine_that_raises_cuts_the_speech_and_speaks_the_next(tts: TTS, name: str) -> None:
    with failing(tts, "engine raises", STEPS) as server:
        heard, is_cut = server.hear(response_format=name)
        assert heard
        assert is_cut, "it would be taken for whole"
        assert server.load() == (0, 0)
        assert server.ask().status_code == 200
    assert "Traceback" not in "\n".join(server.said)


def test_an_engine_that_raises_is_told_by_events(tts: TTS) -> None:
    with failing(tts, "engine raises", STEPS) as server:
        heard, is_cut = server.hear(stream_format="sse")
        assert is_cut
        last = json.loads(heard.split(b"data: ")[-1])
        assert last["type"] == "speech.audio.error"
        assert "no such GPU" in last["error"]["message"]
        assert b"speech.audio.done" not in heard
        assert server.load() == (0, 0)


def test_an_engine_that_raises_before_any_audio_has_a_status(tts: TTS) -> None:
    with failing(tts, "engine raises", STEPS) as server:
        answer = server.ask(input=LONG, stream=False)
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "speech_failed"
        assert "content-length" in answer.headers


def test_without_the_engines_thread_the_server_says_that_it_is_of_no_use(tts: TTS) -> None:
    with failing(tts, "thread ends", STEPS) as server:
        heard, is_cut = server.hear()
        assert heard
        assert is_cut
        for path in ("health", "ready", "v2/health/live"):
            told = httpx.get(f"{server.url}/{path}", timeout=60)
            assert told.status_code == 503
            assert "the engine's thread has ended" in told.json()["trouble"]
        answer = server.ask()
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "not_ready"
        assert server.load() == (0, 0)


def test_a_listener_that_is_killed_frees_its_row(tts: TTS) -> None:
    with failing(tts, "nothing") as server:
        body = json.dumps({"input": " ".join([LONG] * 20), "voice": "plain"})
        command = [sys.executable, "-c", LISTENER, server.url, body]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "hears\n"
            assert server.load() == (1, 0)
            listener.kill()
            until(lambda: server.load() == (0, 0))
        assert (
            'aborted_total{reason="left"} 1.0'
            in httpx.get(f"{server.url}/metrics", timeout=60).text
        )


def test_sigterm_in_the_middle_lets_the_speech_be_said(tts: TTS) -> None:
    with failing(tts, "nothing") as server:
        whole, _ = server.hear(seed=7)
        body = {"input": LONG, "voice": "plain", "response_format": "pcm", "seed": 7}
        with httpx.stream("POST", f"{server.url}/v1/audio/speech", json=body, timeout=60) as answer:
            parts = answer.iter_bytes()
            heard = next(parts)
            server.process.send_signal(signal.SIGTERM)
            heard += b"".join(parts)
        assert heard == whole
    assert server.said[-1] == "ended"


def test_a_full_disk_refuses_a_voice_and_leaves_nothing(tts: TTS, tmp_path: Path) -> None:
    """The system itself refuses to write: files may have a few bytes only."""
    from tests.runtime.serving.test_voices import CONSENT, RECORDING

    folder = tmp_path / "voices"
    with failing(tts, "voices are bounded", 16, "--voices-dir", str(folder)) as server:
        answer = httpx.post(
            f"{server.url}/v1/audio/voices",
            data={"name": "anna", "consent": CONSENT},
            files={"audio_sample": ("a.wav", RECORDING, "audio/wav")},
            timeout=60,
        )
        assert answer.status_code == 507, answer.text
        assert answer.json()["error"]["code"] == "not_kept"
        assert not [*folder.iterdir()]
        assert server.ask(voice="anna").status_code == 400
        assert server.ask().status_code == 200


def test_a_process_without_descriptors_goes_on_when_it_has_some(tts: TTS) -> None:
    with failing(tts, "descriptors are bounded", 72) as server:
        host, port = server.url.removeprefix("http://").split(":")
        callers = []
        for _ in range(200):
            with suppress(OSError):
                callers.append(socket.create_connection((host, int(port)), timeout=2))
        for caller in callers:
            caller.close()
        until(lambda: _answers(server))
        assert server.load() == (0, 0)
    waits = [line for line in server.said if line.startswith("connections wait: [Errno 24]")]
    assert 1 <= len(waits) <= 4, "each ten seconds at most"
    assert "Traceback" not in "\n".join(server.said)


def _answers(server: Server) -> bool:
    try:
        return server.ask().status_code == 200
    except httpx.TransportError:
        time.sleep(0.1)
        return False
