"""The systems that are compared: how each is started, and what is said about it.

In: the folder of environments and the folder of files that `make system-peers` makes. Out:
`System`s. Each worker is a module of this folder.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.errors import UserError
from runtime.engines.native.places import find_library

OURS = ("commands", "formats", "runtime")  # what a device needs of this project


@dataclass(frozen=True)
class System:
    """One system.

    environment, files: names in the two folders. package: the one that names its version. counted:
    the part of the files that its packages do not hold. model: one of several that its package
    knows. whole: it hands out a sentence at once. noise: its weights are random.
    """

    name: str
    worker: str
    environment: str
    package: str
    files: str = ""
    counted: str = ""
    model: str = ""
    whole: bool = False
    noise: bool = False

    def python(self, environments: Path) -> str:
        """The Python of its environment. Raises `UserError` if there is none."""
        python = environments / self.environment / "bin" / "python"
        if not python.exists():
            raise UserError(f"{python}: is not there; make it: make system-peers")
        return str(python)

    def command(self, environments: Path, files: Path) -> list[str]:
        """What starts its worker."""
        module = f"benchmarks.systems.{self.worker}_worker"
        own = [str(files / self.files)] if self.files else []
        return [self.python(environments), "-m", module, *own, *filter(None, [self.model])]

    def describe(self, environments: Path, files: Path) -> dict[str, Any]:
        """Its version, and the bytes that it takes once it is installed."""
        needed = [files / self.counted] if self.counted else []
        if self.worker == "bundle":
            needed += [*map(Path, OURS), _library()]
        command = [self.python(environments), "-m", "benchmarks.systems.installed_worker"]
        told = subprocess.run(
            [*command, *map(str, needed)], check=True, capture_output=True, text=True
        )
        installed = json.loads(told.stdout)
        version = installed["versions"].get(self.package, "this clone")
        return {"version": version, "size_bytes": installed["size_bytes"]}


def _library() -> Path:
    """The native engine's. Raises `UserError` if it is not compiled."""
    library = find_library()
    if library is None:
        raise UserError("the native engine is not compiled; compile it: make system-peers")
    return library


def _ours(heads: int) -> System:
    bundle = f"native-{heads}"
    return System(f"ours, {heads} heads", "bundle", "ours", "slm-deploy", bundle, bundle)


def _pocket(size: str, model: str) -> System:
    name = f"pocket-tts {size}, random weights"
    return System(name, "pocket", "pocket", "pocket-tts", f"pocket-{size}", model=model, noise=True)


SYSTEMS = (
    *map(_ours, (3, 6, 12)),
    System("hibari", "hibari", "hibari", "hibari-tts", whole=True),
    System("Piper, joe", "piper", "piper", "piper-tts", whole=True),
    System(
        "Kokoro, int8", "kokoro", "kokoro", "kokoro-onnx", "kokoro", "kokoro/voices.npz", whole=True
    ),
    System("eSpeak NG", "espeak", "espeak", "espeakng-loader", whole=True),
    _pocket("100M", "english"),
    _pocket("7M", "english_7m_2026-10"),
)
