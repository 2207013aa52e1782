"""The servers that are compared: how each is started and asked, as its own package has it.

In: the folder of environments and the folder of files that `make server-peers` makes, and our
bundle. Out: `Server`s, with commands and variables for a port.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands.errors import UserError

OURS = "ours"


@dataclass(frozen=True)
class Places:
    """Where environments, files and our bundle are."""

    environments: Path
    files: Path
    engine: Path


@dataclass(frozen=True)
class Server:
    """One server.

    environment: a name in the folder of environments; "": this one. package: the one that names its
    version. program: in the environment's folder `bin`, with arguments; variables: of the process.
    Both may have {port}, {files} and {engine}. api, rate_hz, voice, fields: how it is asked.
    whole: it hands out a sentence or a text at once. noise: its weights are random.
    """

    name: str
    environment: str
    package: str
    program: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    api: str = "openai"
    rate_hz: int = 24_000
    voice: str = "alloy"
    fields: Mapping[str, Any] = field(default_factory=dict)
    noise: bool = False

    def python(self, places: Places) -> Path:
        """Of its environment. Raises `UserError` if there is none."""
        if not self.environment:
            return Path(sys.executable)
        python = places.environments / self.environment / "bin" / "python"
        if not python.exists():
            raise UserError(f"{python}: is not there; make it: make server-peers")
        return python

    def command(self, places: Places, port: int) -> list[str]:
        """What starts it, listening on this port of this machine."""
        program, *rest = (_fill(part, places, port) for part in self.program)
        return [str(self.python(places).parent / program), *rest]

    def environ(self, places: Places, port: int) -> dict[str, str]:
        """Variables that it needs besides those that are there."""
        return {name: _fill(value, places, port) for name, value in self.variables.items()}


def _fill(part: str, places: Places, port: int) -> str:
    return part.format(port=port, files=places.files.resolve(), engine=places.engine)


LOCAL = ("--host", "127.0.0.1", "--port", "{port}")
JOE = "{files}/piper/voices/en_US-joe-medium.onnx"
JOE_HZ = 22_050


def _pocket(size: str, model: str) -> Server:
    folder = f"{{files}}/pocket-{size}"
    options = (
        "--config",
        f"{folder}/{model}.yaml",
        "--default-voice",
        f"{folder}/voice.safetensors",
    )
    return Server(
        f"pocket-tts {size}, random weights",
        environment="pocket",
        package="pocket-tts",
        program=("pocket-tts", "serve", *LOCAL, *options),
        api="pocket-tts",
        noise=True,
    )


SERVERS = (
    Server(
        OURS,
        environment="",
        package="",
        program=("python", "-m", "runtime.serve", "--engine", "{engine}", "--port", "{port}"),
    ),
    Server(
        "fastkokoro, Kokoro int8",
        environment="fastkokoro",
        package="fastkokoro",
        program=("fastkokoro",),
        variables={
            "FASTKOKORO_HOST": "127.0.0.1",
            "FASTKOKORO_PORT": "{port}",
            "FASTKOKORO_MODEL_PATH": "{files}/kokoro/kokoro.onnx",
            "FASTKOKORO_VOICES_PATH": "{files}/kokoro/voices.npz",
            "FASTKOKORO_CACHE_DIR": "{files}/fastkokoro",
        },
        voice="af_heart",
        fields={"stream": True},
    ),
    Server(
        "Piper's own, joe",
        environment="piper",
        package="piper-tts",
        program=("python", "-m", "piper.http_server", *LOCAL, "--model", JOE),
        api="piper",
        rate_hz=JOE_HZ,
    ),
    Server(
        "local-tts-studio, Piper joe",
        environment="piper",
        package="local-tts-studio",
        program=("local-tts", *LOCAL),
        variables={"LOCAL_TTS_DATA_DIR": "{files}/piper"},
        rate_hz=JOE_HZ,
    ),
    _pocket("100M", "english"),
    _pocket("7M", "english_7m_2026-10"),
)
