"""Puts the native library of one platform into a wheel. `native/wheels.py` asks for that.

In: the environment variables `SLM_WHEEL_LIBRARY` (its path) and `SLM_WHEEL_TAG`. Out: a wheel for
that platform. Without them a wheel holds no library, and is the same for all platforms.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY, TAG = "SLM_WHEEL_LIBRARY", "SLM_WHEEL_TAG"


class WheelHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if LIBRARY not in os.environ:
            return
        library = Path(os.environ[LIBRARY])
        build_data["force_include"][str(library)] = f"runtime/engines/native/lib/{library.name}"
        build_data["tag"] = os.environ[TAG]
        build_data["pure_python"] = False
