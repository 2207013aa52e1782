"""`python -m runtime.serve`: what it says, what it refuses, and how it ends."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from runtime import serve
from runtime.audio.sound import to_pcm16
from runtime.scheduling import capacity
from runtime.serving import server
from runtime.speech.sampling import Sampling
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import SEED, until

ROOT = Path(__file__).parents[3]
LONG = " ".join(["Abcdef abc."] * 120)
KEY = "a-key-of-some-length"


@contextmanager
def command(*options: str) -> Iterator[tuple[subprocess.Popen[str], list[str], str]]:
    """The process, the lines that it said, and its address."""
    arguments = [sys.executable, "-m", "runtime.serve", "--port", "0", *options]
    environment = os.environ | {"SLM_TTS_API_KEY": KEY}
    with subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said: list[str] = []
            for line in process.stderr:
                said.append(line.rstrip())
                if found := re.search(r"listening on (\S+)", line):
                    yield process, said, found.group(1)
                    break
            said += process.stderr.read().splitlines()
            assert process.wait(60) == 0, said
        finally:
            process.kill()


def test_it_serves_and_lets_speeches_be_said_at_the_end(tts: TTS) -> None:
    folder = str(tts.bundle.folder)
    headers = {"authorization": f"Bearer {KEY}"}
    body = {"input": LONG, "seed": SEED, "response_format": "pcm", "sample_rate": 16_000}
    options = ("--engine", folder, "--rows", "2", "--warm-up", "Abc.", "--threads", "1")
    with command(*options) as (process, said, url):
        until(lambda: httpx.get(f"{url}/ready", timeout=60).status_code == 200)
        assert httpx.post(f"{url}/v1/audio/speech", json=body, timeout=60).status_code == 401
        with httpx.stream(
            "POST", f"{url}/v1/audio/speech", json=body, headers=headers, timeout=60
        ) as answer:
            parts = answer.iter_bytes()
            heard = next(parts)
            process.send_signal(signal.SIGTERM)
            until(lambda: not _can_connect(url))
            heard += b"".join(parts)
    alone = tts.synthesize(LONG, sampling=Sampling(seed=SEED)).audio
    assert heard == to_pcm16(alone)
    assert said[-1] == "ended"
    assert "2 texts side by side, 4 more may wait" in said
    assert "voices: plain, other" in said
    assert KEY not in "".join(said)
    assert "Abcdef" not in "".join(said)


def test_a_drain_has_an_end(tts: TTS) -> None:
    folder = str(tts.bundle.folder)
    options = ("--engine", folder, "--rows", "1", "--warm-up", "Abc.", "--drain", "1")
    headers = {"authorization": f"Bearer {KEY}"}
    with command(*options) as (process, said, url):
        until(lambda: httpx.get(f"{url}/ready", timeout=60).status_code == 200)
        text = " ".join([LONG] * 4)
        body = {"input": text, "response_format": "wav", "sample_rate": 48_000}
        is_cut = False
        try:
            with httpx.stream(
                "POST", f"{url}/v1/audio/speech", json=body, headers=headers, timeout=60
            ) as answer:
                parts = answer.iter_bytes()
                next(parts)
                process.send_signal(signal.SIGTERM)
                time.sleep(3)  # longer than it waits: the rest is not read before
                for _ in parts:
                    pass
        except (httpx.RemoteProtocolError, httpx.ReadError):
            is_cut = True
        assert is_cut
    assert "Traceback" not in "\n".join(said), said
    assert said[-1] == "ended"


def _can_connect(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def test_rows_that_are_asked_for_are_measured_too(
    tts: TTS, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = serve._limits(tts, 3, None)
    assert (limits.rows, limits.waiting, len(limits.loads)) == (3, 4, 3)
    assert limits.prompt_positions
    said = capsys.readouterr().err
    assert said.startswith("capacity: ")
    assert "warning" not in said
    assert serve._limits(tts, 3, 0).waiting == 0
    monkeypatch.setattr(capacity, "MARGIN", 0.0)
    assert serve._limits(tts, 3, None).rows == 3
    assert "warning: --rows 3 is more than stay in real time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("allowed", "most", "connections", "then"),
    [
        (256, 4096, 1024, 1024 + server.FILES_BESIDE),
        (256, 1024, 1024 - server.FILES_BESIDE, 1024),
        (256, resource.RLIM_INFINITY, 1024, 1024 + server.FILES_BESIDE),
        (5000, 5000, 1024, 5000),
        (64, 64, server.LEAST_CONNECTIONS, 64),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 1024, resource.RLIM_INFINITY),
    ],
)
def test_there_are_as_many_connections_as_files_may_be_open(
    monkeypatch: pytest.MonkeyPatch, allowed: int, most: int, connections: int, then: int
) -> None:
    limits = [allowed, most]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: limits.__setitem__(0, given[0]))
    assert server.fitting_connections(1024) == connections
    assert limits == [then, most]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rows", "99"], "this bundle takes at most 16"),
        (["--port", "{taken}"], "{taken}: Address already in use; give another --port"),
        (["--port", "65536"], "--port 65536: ports end at 65535"),
        (["--wyoming-port", "99999"], "--wyoming-port 99999: ports end at 65535"),
        (["--host", "no.such.host.invalid"], "give an address of this machine, --host"),
        (["--host", "192.0.2.1"], "give an address of this machine, --host"),
        (["--allow-origin", "example.org"], "--allow-origin example.org: is no origin"),
        (["--api-key-file", "{folder}/none"], "none"),
        (["--look-ahead", "1"], "look"),
        (["--engine", "{folder}/none"], "none"),
    ],
)
def test_mistakes_are_one_line(
    tts: TTS,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = {"taken": taken.getsockname()[1], "folder": str(tmp_path)}
        filled = [option.format(**values) for option in options]
        base = ["--engine", str(tts.bundle.folder), "--port", "0"]
        assert serve.main([*base, *filled]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert said.format(**values) in lines[-1]
    assert lines[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("host", "is_said"), [("0.0.0.0", True), ("127.0.0.1", False), ("localhost", False)]
)
def test_an_open_address_without_a_key_is_warned_of(
    capsys: pytest.CaptureFixture[str], host: str, is_said: bool
) -> None:
    from runtime.serving.settings import ServerSettings

    serve._warn_if_open(host, ServerSettings())
    assert ("warning: no key" in capsys.readouterr().err) == is_said
    serve._warn_if_open(host, ServerSettings(keys=(KEY.encode(),)))
    assert capsys.readouterr().err == ""
