"""Where the native library lies, and what it is called. It needs the standard library only.

In: a platform. Out: paths, whether there is a library or not. A wheel carries the library of one
platform beside this file; a clone keeps those that `native/build.py` made in `build/native`.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

CLONE = Path(__file__).resolve().parents[3]
BUILDER = CLONE / "native" / "build.py"
BUILD_COMMAND = "python native/build.py"  # run in the clone
WHEEL_FOLDER = Path(__file__).resolve().parent / "lib"
OTHER_LIBRARY = "SLM_LIBRARY"  # environment variable: the path of a library to take instead

_SYSTEMS = {"win32": "windows", "darwin": "macos"}
_MACHINES = {"AMD64": "x86_64", "ARM64": "arm64"}
_LIBRARIES = {"windows": "slm.dll", "macos": "libslm.dylib"}


def this_platform() -> str:
    """The platform of this process: linux-x86_64, linux-aarch64, windows-x86_64, macos-arm64 …"""
    system = _SYSTEMS.get(sys.platform, sys.platform)
    machine = platform.machine()
    return f"{system}-{_MACHINES.get(machine, machine)}"


def library_name(target: str) -> str:
    """The file name of the library for a platform."""
    return _LIBRARIES.get(target.partition("-")[0], "libslm.so")


def build_folder(target: str) -> Path:
    """Where the clone keeps the library for a platform."""
    return CLONE / "build" / "native" / target


def find_library() -> Path | None:
    """The library for this process; None if there is none."""
    if asked_for := os.environ.get(OTHER_LIBRARY):
        return Path(asked_for)
    target = this_platform()
    folders = (WHEEL_FOLDER, build_folder(target))
    paths = (folder / library_name(target) for folder in folders)
    return next((path for path in paths if path.is_file()), None)
