"""Commands that an export suggests: how to use its bundle, or how to calibrate first.

In: a manifest and its directory, or the source of an export. Out: a line for a shell.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from export.options import Source
from runtime.bundle.manifest import Manifest

CALIBRATION_TEXTS = "samples/calibration.txt"
EXAMPLE_QUESTION = "What is the capital of France?"


def example_command(module: str, manifest: Manifest, output: Path) -> str:
    """A command of `module` that speaks or answers with the bundle.

    If the bundle has no default voice, the command names a recording that the user must make.
    """
    words = ["python", "-m", module, "--engine", str(output)]
    words += [] if manifest.default_voice else ["--voice", "RECORDING.wav"]
    words += ["--question", EXAMPLE_QUESTION] if module.endswith("chat") else ["They know it."]
    words += ["-o", "answer.wav" if module.endswith("chat") else "out.wav"]
    return _as_typed(words)


def calibration_command(precision: str, source: Source) -> str:
    """The command that finds scales for the model of `source`."""
    words = ["python", "-m", "calibration.run", "--precision", precision, *source.to_words()]
    return _as_typed([*words, "--texts", CALIBRATION_TEXTS, "--output", f"scales-{precision}"])


def _as_typed(words: Sequence[str]) -> str:
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
