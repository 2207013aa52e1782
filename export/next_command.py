"""The command that an export ends with: what to type next.

In: a manifest and the directory that it lies in. Out: a line that can be pasted into a shell.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from runtime.bundle import Manifest

EXAMPLE_QUESTION = "What is the capital of France?"


def example_command(module: str, manifest: Manifest, output: Path) -> str:
    """A command that can be pasted into a shell: `module` says or answers something.

    Where the engine has no default voice, the command names a recording that the user has to make.
    """
    words = ["python", "-m", module, "--engine", str(output)]
    words += [] if manifest.default_voice else ["--voice", "RECORDING.wav"]
    words += ["--question", EXAMPLE_QUESTION] if module.endswith("chat") else ["They know it."]
    words += ["-o", "answer.wav" if module.endswith("chat") else "out.wav"]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
