"""A server with a tiny bundle for real clients, which run in environments of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.bundle.manifest import SamplingDefaults
from runtime.speech.codec import DecoderStream
from runtime.speech.synthesis import TTS
from tests.runtime.conftest import held
from tests.runtime.serving.conftest import Served, serving
from tests.runtime.tiny_bundle import Scenario, rewrite_manifest, write_bundle

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent
ENVIRONMENTS = ROOT / "build" / "clients"
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
LONG = " ".join(["Abcdef abc."] * 30)
TOLERANCE = 0.02  # of a length
RATE_HZ = 24_000  # at which voice agents play
KEY = "a-key-of-some-length"


class Heard:
    """What a client has heard of one order."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.rates: list[int] = told["rates"]
        self.errors: list[str] = told["errors"]
        self.samples: NDArray[np.int16] = np.fromfile(told["file"], "<i2")

    @property
    def seconds(self) -> float:
        return len(self.samples) / (self.rates[0] if self.rates else RATE_HZ)


Listen = Callable[..., list[Heard]]
__all__ = ["held"]


@pytest.fixture(scope="module")
def tts(tmp_path_factory: pytest.TempPathFactory) -> TTS:
    """Greedy, because agents' clients cannot send a seed: every answer has the same samples."""
    folder: Path = tmp_path_factory.mktemp("served") / "engine"
    write_bundle(folder, Scenario(heads=12, codes_a=range(40), frames_per_token=100.0))
    voices = {"joe": "voices/plain.safetensors"}
    greedy = SamplingDefaults(do_sample=False)
    rewrite_manifest(folder, voices=voices, default_voice="joe", sampling=greedy)
    return TTS.load(folder, threads=1)


@pytest.fixture(scope="module")
def served(tts: TTS) -> Iterator[Served]:
    with serving(tts, keys=(KEY.encode(),)) as server:
        yield server


@pytest.fixture(scope="module")
def unlocked(tts: TTS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server without keys that takes voices."""
    with serving(tts, voices_folder=tmp_path_factory.mktemp("voices")) as server:
        yield server


def python_of(client: str) -> Path:
    """The Python of its environment."""
    python = ENVIRONMENTS / client / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python} is not there; `make clients-check` makes it")
    installed, packages = ENVIRONMENTS / client / "installed", CLIENTS / f"{client}.txt"
    if not installed.exists() or installed.stat().st_mtime < packages.stat().st_mtime:
        pytest.skip(f"{packages} is newer than its environment; `make clients-check` renews it")
    return python


@pytest.fixture
def listen(tmp_path: Path) -> Listen:
    """Give orders to a client: `listen(served, "livekit", {"text": …}, …)`."""

    def listening(served: Served, client: str, *orders: dict[str, Any]) -> list[Heard]:
        asked = {"base_url": f"{served.url}/v1", "grpc": served.grpc}
        asked |= {"api_key": KEY, "folder": str(tmp_path)}
        done = subprocess.run(
            [str(python_of(client)), str(Path(__file__).parent / f"{client}_client.py")],
            input=json.dumps(asked | {"orders": orders}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [Heard(json.loads(line)) for line in done.stdout.splitlines()]

    return listening


def fail_after(monkeypatch: pytest.MonkeyPatch, chunks: int) -> None:
    """From now on the codec fails when so many chunks were made."""
    next_inputs, made = DecoderStream.next_inputs, [0]

    def fails(stream: DecoderStream, count: int) -> Any:
        made[0] += 1
        if made[0] > chunks:
            raise ValueError("no such codec")
        return next_inputs(stream, count)

    monkeypatch.setattr(DecoderStream, "next_inputs", fails)


def ask(served: Served, text: str) -> httpx.Response:
    """A request of somebody else."""
    return httpx.post(f"{served.url}/v1/audio/speech", json={"input": text}, timeout=60)


def seconds_of(tts: TTS, text: str = LONG, speed: float = 1.0) -> float:
    """How long a text lasts without a server."""
    return len(tts.synthesize(text).audio) / tts.sample_rate / speed
