"""The largest amount of memory that this process has used, on Linux, macOS and Windows.

In: nothing. Out: mebibytes, or None where the system does not provide it.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

MIB = 1024 * 1024

_OWN_STATUS = Path("/proc/self/status")


def peak_memory_mb() -> float | None:
    """Largest resident set of this process so far, in MiB."""
    peak = _peak_on_windows() if sys.platform == "win32" else _peak_on_linux() or _peak_on_unix()
    return None if peak is None else peak / MIB


def _peak_on_linux() -> int | None:
    """Bytes. On Linux the value of `_peak_on_unix` includes the size of the parent process."""
    with suppress(OSError):
        for line in _OWN_STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return None


def _peak_on_unix() -> int | None:
    """Bytes."""
    try:
        import resource
    except ImportError:  # neither Unix nor Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


class _Counters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of psapi.h."""

    _fields_ = (
        ("cb", ctypes.c_uint32),
        ("PageFaultCount", ctypes.c_uint32),
        *(
            (name, ctypes.c_size_t)
            for name in (
                "PeakWorkingSetSize",
                "WorkingSetSize",
                "QuotaPeakPagedPoolUsage",
                "QuotaPagedPoolUsage",
                "QuotaPeakNonPagedPoolUsage",
                "QuotaNonPagedPoolUsage",
                "PagefileUsage",
                "PeakPagefileUsage",
            )
        ),
    )


def _peak_on_windows() -> int | None:
    """Bytes."""
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined, unused-ignore]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo.argtypes = (
        ctypes.c_void_p,
        ctypes.POINTER(_Counters),
        ctypes.c_uint32,
    )
    counters = _Counters(cb=ctypes.sizeof(_Counters))
    told = kernel.K32GetProcessMemoryInfo(
        kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb
    )
    return int(counters.PeakWorkingSetSize) if told else None
