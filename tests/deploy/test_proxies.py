"""Two servers behind nginx and behind Caddy, with the configurations of deploy/.

Skipped where the programs are not installed. Ports alone are other ones.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from websockets.sync.client import connect

from runtime.engines.rows import RowLoop, Step
from runtime.scheduling.limits import Load, SchedulerLimits
from runtime.serving.speaking import Phase
from runtime.speech.codec import DecoderStream
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import Served, serving, until
from tests.runtime.serving.websocket.conftest import NATIVE, PATH, Caller
from tests.runtime.tiny_bundle import Scenario, write_bundle

DEPLOY = Path(__file__).parents[2] / "deploy"
LONG = " ".join(["Abcdef abc."] * 20)
CUT = (httpx.RemoteProtocolError, httpx.ReadError)
CHECK_SECONDS = 2.5
LIMITS = SchedulerLimits(rows=1, waiting=0)


class Proxied:
    """url: of the proxy. servers: the two behind it. cuts: a body that was cut stays so.
    is_checking: it asks now and then who is ready, instead of asking another one at once."""

    def __init__(self, program: str, url: str, servers: tuple[Served, Served]) -> None:
        self.url, self.servers = url, servers
        self.cuts, self.is_checking = not is_old(program), program == "caddy"

    def ask(self, **fields: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/audio/speech", json=body(**fields), timeout=60)

    @contextmanager
    def listening(self, **fields: Any) -> Iterator[Iterator[bytes]]:
        """A listener to whom the first audio has come."""
        url = f"{self.url}/v1/audio/speech"
        with httpx.stream("POST", url, json=body(**fields), timeout=60) as answer:
            assert answer.status_code == 200
            parts = answer.iter_raw()
            assert next(parts)
            yield parts

    def speaking(self) -> int:
        return sum(served.scheduler.load().speaking for served in self.servers)


def body(**fields: Any) -> dict[str, Any]:
    return {"input": LONG, "voice": "plain", "response_format": "pcm", "seed": 5} | fields


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def nginx(folder: Path, text: str) -> list[str]:
    """In the foreground, with its files in the folder and without root."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    text = text.replace("http {", f"http {{ access_log off; {paths}", 1)
    (folder / "nginx.conf").write_text(text)
    told = f"daemon off; pid {folder}/pid; error_log {folder}/log;"
    return ["nginx", "-c", f"{folder}/nginx.conf", "-p", str(folder), "-g", told]


def caddy(folder: Path, text: str) -> list[str]:
    (folder / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]


@pytest.fixture(scope="module")
def tts(tmp_path_factory: pytest.TempPathFactory) -> TTS:
    scenario = Scenario(heads=12, codes_a=range(40), frames_per_token=100.0)
    return TTS.load(write_bundle(tmp_path_factory.mktemp("behind") / "engine", scenario), threads=1)


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxied(
    request: pytest.FixtureRequest, tts: TTS, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxied]:
    program, folder = request.param, tmp_path_factory.mktemp(request.param)
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    file, start = {"nginx": ("nginx.conf", nginx), "caddy": ("Caddyfile", caddy)}[program]
    with serving(tts, LIMITS) as one, serving(tts, LIMITS) as other:
        port, text = free_port(), (DEPLOY / file).read_text()
        ports = {"8001": one.url, "8002": other.url}
        for old, url in ports.items():
            text = text.replace(f"127.0.0.1:{old}", url.removeprefix("http://"))
        text = re.sub(r"(^:|listen )8000", rf"\g<1>{port}", text, flags=re.MULTILINE)
        with (folder / "output").open("w") as output:
            process = subprocess.Popen(start(folder, text), stdout=output, stderr=output)
        try:
            until(lambda: is_up(f"http://127.0.0.1:{port}"))
            yield Proxied(program, f"http://127.0.0.1:{port}", (one, other))
        finally:
            process.terminate()
            process.wait(60)


def is_old(program: str) -> bool:
    """Caddy 2.6, which Debian 12 has, ends a body that was cut as if it were whole."""
    return program == "caddy" and subprocess.check_output(["caddy", "version"]).startswith(b"2.6")


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=60).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    step = RowLoop.step

    def wait(loop: RowLoop) -> list[Step]:
        time.sleep(0.004)
        return step(loop)

    monkeypatch.setattr(RowLoop, "step", wait)


def test_audio_goes_on_as_it_comes_and_whole(proxied: Proxied, slow: None) -> None:
    with proxied.listening() as parts:
        assert proxied.speaking() == 1, "the first audio has come, and it is still spoken"
        count = len([*parts])
    assert count > 10
    alone = httpx.post(f"{proxied.servers[0].url}/v1/audio/speech", json=body(), timeout=60)
    until(lambda: proxied.speaking() == 0)
    assert proxied.ask().content == alone.content


def test_websockets_go_through(proxied: Proxied) -> None:
    with connect(proxied.url.replace("http", "ws", 1) + PATH) as socket:
        _, audio = Caller(socket).say("Abc. Abcdef.", **(NATIVE | {"seed": 5}))
    assert audio == proxied.ask(input="Abc. Abcdef.", sample_rate=NATIVE["sample_rate"]).content
    until(lambda: proxied.speaking() == 0)


def test_who_leaves_frees_the_row(proxied: Proxied, slow: None) -> None:
    with proxied.listening(input=" ".join([LONG] * 30)):  # 96 s of steps
        pass
    until(lambda: proxied.speaking() == 0)


def test_two_listeners_go_to_two_servers(proxied: Proxied, slow: None) -> None:
    with proxied.listening(), proxied.listening():
        assert {served.scheduler.load() for served in proxied.servers} == {Load(0, 1, 1)}
        for refused in [proxied.ask() for _ in range(4)]:
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "overloaded"
            assert int(refused.headers["retry-after"]) >= 1
    until(lambda: proxied.speaking() == 0)
    assert proxied.ask(input="Abc.").status_code == 200


def test_a_server_that_is_about_to_end_gets_no_texts(proxied: Proxied) -> None:
    for ending in proxied.servers:
        speaking = ending.app.state.speaking
        speaking.phase = Phase.ENDING
        if proxied.is_checking:
            time.sleep(CHECK_SECONDS)
        assert {proxied.ask(input="Abc.").status_code for _ in range(4)} == {200}
        speaking.phase = Phase.READY
        if proxied.is_checking:
            time.sleep(CHECK_SECONDS)


def test_a_failure_in_the_middle_is_no_end(
    proxied: Proxied, slow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, next_inputs = threading.Event(), DecoderStream.next_inputs

    def fail(stream: DecoderStream, count: int) -> Any:
        if broken.is_set():
            raise ValueError("no such codec")
        return next_inputs(stream, count)

    monkeypatch.setattr(DecoderStream, "next_inputs", fail)
    with proxied.listening() as parts:
        broken.set()
        if proxied.cuts:
            with pytest.raises(CUT):
                list(parts)
    broken.clear()
    with proxied.listening(stream_format="sse") as parts:
        broken.set()
        heard = b""
        with suppress(*CUT):
            for part in parts:
                heard += part
    assert b"speech.audio.error" in heard, "events say it behind any proxy"
