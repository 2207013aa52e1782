"""A server on a free port, with a tiny bundle behind it; its steps can be held."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from formats.speaker_files import write_speaker
from runtime.bundle.loading import describe_file
from runtime.bundle.manifest import read_manifest
from runtime.scheduling.limits import Load, SchedulerLimits
from runtime.scheduling.scheduler import Scheduler
from runtime.speech.synthesis import TTS
from tests.runtime.tiny_bundle import SPEAKER, Scenario, rewrite_manifest, write_bundle

pytest.importorskip("uvicorn")

SEED = 7
SENTENCE = "Abc. Abcdef abc."


class Served:
    """A server that runs. url: of its root. grpc: its address, if it has that port. stop: tells the
    server to end."""

    grpc = ""
    stop: Callable[[], None]

    def __init__(self, url: str, scheduler: Scheduler, app: Any) -> None:
        self.url = url
        self.scheduler = scheduler
        self.app = app

    @property
    def tts(self) -> TTS:
        return self.scheduler.tts

    def wait_until_idle(self) -> None:
        """Nothing waits and nothing is spoken."""
        rows = self.scheduler.limits.rows
        until(lambda: self.scheduler.load() == Load(0, 0, rows))


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """seconds: a guard against hanging, no promise: machines are busy."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.001)


@contextmanager
def serving(
    tts: TTS,
    limits: SchedulerLimits | None = None,
    connections: Any = None,
    *,
    is_awaited: bool = True,
    has_grpc: bool = False,
    **settings: Any,
) -> Iterator[Served]:
    """Run a server until the context ends. is_awaited: begin when it is ready."""
    from runtime.serving.app import make_app
    from runtime.serving.server import ConnectionLimits, SpeechServer, open_socket, url_of
    from runtime.serving.settings import ServerSettings
    from runtime.serving.speaking import Phase

    options = ServerSettings(**({"warm_up_text": "Abc."} | settings))
    with (
        Scheduler(tts, limits or SchedulerLimits(rows=4)) as scheduler,
        open_socket("127.0.0.1", 0) as listening,
        open_socket("127.0.0.1", 0) if has_grpc else nullcontext() as riva,
    ):
        address = url_of(riva).removeprefix("http://") if riva else ""
        app = make_app(scheduler, options, riva=riva)
        server = SpeechServer(app, connections or ConnectionLimits(drain_seconds=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        serves = Served(url_of(listening), scheduler, app)
        serves.grpc, serves.stop = address, lambda: setattr(server, "should_exit", True)
        try:
            if is_awaited:
                until(lambda: app.state.speaking.phase is not Phase.WARMING_UP)
            yield serves
        finally:
            server.should_exit = True
            thread.join(120)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def tts(tmp_path_factory: pytest.TempPathFactory) -> TTS:
    folder: Path = tmp_path_factory.mktemp("served") / "engine"
    write_bundle(folder, Scenario(heads=12, codes_a=range(40), frames_per_token=100.0))
    voices = {"plain": "voices/plain.safetensors", "other": "voices/other.safetensors"}
    write_speaker(folder / voices["other"], SPEAKER[::-1].copy())
    files = read_manifest(folder).files | {voices["other"]: describe_file(folder / voices["other"])}
    rewrite_manifest(folder, voices=voices, default_voice="plain", files=files)
    return TTS.load(folder, threads=1)


@pytest.fixture(scope="module")
def served(tts: TTS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tts, voices_folder=tmp_path_factory.mktemp("uploaded")) as server:
        yield server
