"""A server as a process of its own, from its start until it is ended.

In: a `Server` and a folder for what it prints. Out: its address and what it holds, while it runs.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.asking import Ask
from benchmarks.serving.hearing import Outcome, hear
from benchmarks.serving.over_http import OverHttp
from benchmarks.serving.peers.roster import Places, Server
from commands.errors import UserError

READY_SECONDS = 180.0
END_SECONDS = 20.0  # after it was asked to end
GREETING = Ask("Hello there.", None)


@dataclass(frozen=True)
class Running:
    """ready_seconds: from its start to the end of the first text that it spoke."""

    target: OverHttp
    process: int
    ready_seconds: float


@contextmanager
def started(server: Server, places: Places, logs: Path) -> Iterator[Running]:
    """Raises `UserError` if it does not speak."""
    port = _free_port()
    environ = {**os.environ, **server.environ(places, port), "HF_HUB_OFFLINE": "1"}
    log = logs / f"{server.name.replace(', ', '-').replace(' ', '-')}.log"
    logs.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with (
        log.open("wb") as output,
        subprocess.Popen(
            server.command(places, port), env=environ, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            target = _target(server, port)
            _wait_until_ready(server, target, process, log)
            yield Running(target, process.pid, time.monotonic() - start)
        finally:
            _end(process)


def find_version(server: Server, places: Places) -> str:
    """Of its package."""
    if not server.package:
        return "this clone"
    program = (
        "import importlib.metadata, json; "
        f"print(json.dumps(importlib.metadata.version({server.package!r})))"
    )
    told = subprocess.run(
        [str(server.python(places)), "-c", program], check=True, capture_output=True, text=True
    )
    version: str = json.loads(told.stdout)
    return version


def _target(server: Server, port: int) -> OverHttp:
    url = f"http://127.0.0.1:{port}"
    target = OverHttp(url, (server.voice,), server.fields, rate_hz=server.rate_hz, api=server.api)
    target.name = server.name
    return target


def _wait_until_ready(
    server: Server, target: OverHttp, process: subprocess.Popen[bytes], log: Path
) -> None:
    """It refuses connections until it listens, and texts while it loads."""
    end = time.monotonic() + READY_SECONDS
    ask = Ask(GREETING.text, server.voice)
    while (heard := hear(target, ask)).outcome is not Outcome.DONE:
        if process.poll() is not None:
            raise UserError(f"{server.name}: has ended; {log} says why")
        if time.monotonic() > end:
            raise UserError(f"{server.name}: does not speak ({heard.reason}); {log} has more")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
