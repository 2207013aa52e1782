"""`python -m runtime.serve --grpc-port`: what it says and refuses."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import httpx2 as httpx
import pytest

from runtime import serve
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import until
from tests.runtime.serving.riva.conftest import Caller, grpc
from tests.runtime.serving.test_command import KEY, command


def test_both_ports_are_served(tts: TTS) -> None:
    folder = str(tts.bundle.folder)
    options = ("--engine", folder, "--rows", "2", "--warm-up", "Abc.", "--threads", "1")
    with command(*options, "--grpc-port", "0") as (process, said, url):
        address = next(
            found.group(1)
            for line in said
            if (found := re.fullmatch(r"gRPC as Riva's on (127\.0\.0\.1:\d+)", line))
        )
        caller, stranger = Caller(address, KEY), Caller(address, None)
        until(lambda: httpx.get(f"{url}/ready", timeout=60).status_code == 200)
        assert caller.speak()
        with pytest.raises(grpc.RpcError, match="a key is missing"):
            stranger.speak()
        process.terminate()
    assert said[-1] == "ended"
    assert KEY not in "".join(said)


@pytest.mark.parametrize(
    ("port", "why"),
    [("{taken}", "give another --grpc-port"), ("65536", "ports end at 65535")],
)
def test_refusals(tts: TTS, port: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = port.replace("{taken}", str(taken.getsockname()[1]))
        bundle = ["--engine", str(tts.bundle.folder), "--rows", "1", "--port", "0"]
        assert serve.main([*bundle, "--grpc-port", given]) == 2
    assert why in capsys.readouterr().err


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(["grpc", "google.protobuf"]))
import runtime.serving.app, runtime.serving.server
import runtime.serve
sys.exit(runtime.serve.main({options!r}))
"""


def test_who_does_not_ask_does_not_need_grpc(tts: TTS) -> None:
    """And who asks is told what to install, before a bundle is looked for."""
    options = ["--engine", "there-is-none", "--port", "0"]

    def run(*more: str) -> str:
        code = WITHOUT.format(options=[*options, *more])
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        [line] = done.stderr.splitlines()
        return line

    assert "there-is-none" in run()
    assert '[riva,serve]"' in run("--grpc-port", "0")
