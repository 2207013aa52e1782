"""Peak memory, as three systems tell it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commands import peak_memory
from commands.peak_memory import peak_memory_mb


def test_here() -> None:
    code = (
        "from commands.peak_memory import peak_memory_mb\n"
        "before = peak_memory_mb()\nmemory = b'x' * 2**27\nprint(peak_memory_mb() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=Path(__file__).parents[2]
    )
    # Not of this process, which is larger: getrusage would begin with that.
    assert 120 < float(done.stdout) < 140, "MiB: 128 were asked for"


@pytest.fixture
def without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak_memory, "_OWN_STATUS", tmp_path / "none")


@pytest.mark.usefixtures("without_proc")
@pytest.mark.parametrize(("platform", "unit"), [("freebsd", 1024), ("darwin", 1)])
def test_units_of_unix(monkeypatch: pytest.MonkeyPatch, platform: str, unit: int) -> None:
    usage = SimpleNamespace(ru_maxrss=512 * 1024 * 1024 // unit)
    resource = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: usage)
    monkeypatch.setitem(sys.modules, "resource", resource)
    monkeypatch.setattr(sys, "platform", platform)
    assert peak_memory_mb() == 512.0


class Kernel:
    """kernel32.dll; `asked` are the handles and sizes that it was called with."""

    def __init__(self, succeeds: bool) -> None:
        self.asked: list[tuple[object, int]] = []

        def get_info(handle: object, counters: Any, size: int) -> int:
            self.asked.append((handle, size))
            counters._obj.PeakWorkingSetSize = 7 * 1024 * 1024
            return int(succeeds)

        self.K32GetProcessMemoryInfo = get_info
        self.GetCurrentProcess = lambda: 2**64 - 1  # a handle does not fit into an int


@pytest.mark.parametrize(("succeeds", "expected"), [(True, 7.0), (False, None)])
def test_windows(monkeypatch: pytest.MonkeyPatch, succeeds: bool, expected: float | None) -> None:
    kernel = Kernel(succeeds)
    monkeypatch.setattr(ctypes, "WinDLL", lambda name: {"kernel32": kernel}[name], raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)  # does not exist there
    assert peak_memory_mb() == expected
    assert kernel.asked == [(2**64 - 1, 72)], "sizeof(PROCESS_MEMORY_COUNTERS) on 64 bits"
    assert kernel.GetCurrentProcess.restype is ctypes.c_void_p  # type: ignore[attr-defined]


@pytest.mark.usefixtures("without_proc")
def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(peak_memory.sys, "platform", "emscripten")
    assert peak_memory_mb() is None


def test_commands_load_without_the_module_of_unix() -> None:
    modules = (
        "runtime.tts",
        "runtime.chat",
        "runtime.profile",
        "export.build",
        "export.pipeline",
    )
    code = "import sys\nsys.modules['resource'] = None\n" + "".join(
        f"import {module}\n" for module in (*modules, "export.plans.plan_bundle")
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=root, check=False)
    if b"tensorrt" in done.stderr and b"ModuleNotFoundError" in done.stderr:
        pytest.skip("TensorRT is not installed here")
    assert done.returncode == 0, done.stderr.decode()
