"""What a report says of the machine that it was measured on.

In: nothing. Out: a `Machine`. No name of the host or of a user, and no path: reports are published.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from runtime.engines.onnxruntime.threads import usable_processors
from runtime.profiling.report import Machine

PACKAGES = (
    *("slm-deploy", "numpy", "onnxruntime", "onnxruntime-gpu", "tokenizers", "hibari-tts"),
    *("cuda-bindings", "tensorrt", "tensorrt-rtx-cu13"),
)
FEATURES = (  # as /proc/cpuinfo calls them: x86-64, then Arm
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"),
    *("asimddp", "i8mm", "bf16", "sve"),
)
_CPU_INFO, _MODEL = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")


def describe_machine(gpu: str | None = None) -> Machine:
    """This machine. gpu: the one that an engine uses."""
    told = _read_cpu_info()
    flags = set(told.get("flags", told.get("Features", "")).split())
    return Machine(
        system=f"{platform.system()} {_short_release()}",
        processor=_name_processor(told),
        architecture=platform.machine(),
        processors=len(usable_processors()),
        memory_bytes=_memory_bytes(),
        features=tuple(name for name in FEATURES if name in flags),
        gpu=gpu,
        python=platform.python_version(),
        packages=_versions(),
    )


def _short_release() -> str:
    """ "6.8" of "6.8.0-45-generic": builds have names of their own that say nothing of speed."""
    return ".".join(platform.release().split("-")[0].split(".")[:2])


def _read_cpu_info() -> dict[str, str]:
    """Of the first processor; empty where the system has no such file."""
    with suppress(OSError):
        lines = _CPU_INFO.read_text().split("\n\n", 1)[0].splitlines()
        pairs = (line.partition(":") for line in lines)
        return {name.strip(): value.strip() for name, _, value in pairs}
    return {}


def _name_processor(told: dict[str, str]) -> str:
    """A board's name says more than that of its Arm cores."""
    with suppress(OSError):
        return _MODEL.read_text().strip("\0\n ")
    return told.get("model name") or platform.processor() or "unknown processor"


def _memory_bytes() -> int | None:
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
