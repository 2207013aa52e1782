"""Commands that an export prints: what to type next, or first.

In: a manifest and the directory that it lies in, or what an export was told. Out: a line that can
be pasted into a shell.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.bundle.manifest import Manifest

CALIBRATION_TEXTS = "samples/calibration.txt"
EXAMPLE_QUESTION = "What is the capital of France?"


def example_command(module: str, manifest: Manifest, output: Path) -> str:
    """A command that can be pasted into a shell: `module` says or answers something.

    Where the engine has no default voice, the command names a recording that the user has to make.
    """
    words = ["python", "-m", module, "--engine", str(output)]
    words += [] if manifest.default_voice else ["--voice", "RECORDING.wav"]
    words += ["--question", EXAMPLE_QUESTION] if module.endswith("chat") else ["They know it."]
    words += ["-o", "answer.wav" if module.endswith("chat") else "out.wav"]
    return _as_typed(words)


def calibration_command(
    precision: str, sources: Mapping[str, Path | int | None], voices: Sequence[str]
) -> str:
    """A command that finds scales for a model. `sources`: --model, --codec and --heads, as the
    export was told; its voices are NAME=FILE."""
    words = ["python", "-m", "calibration.run", "--precision", precision]
    for option, value in sources.items():
        words += [] if value is None else [option, str(value)]
    words += ["--voice", *voices] if voices else []
    return _as_typed([*words, "--texts", CALIBRATION_TEXTS, "--output", f"scales-{precision}"])


def _as_typed(words: Sequence[str]) -> str:
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
