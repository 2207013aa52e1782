"""Fixtures of the runtime's tests: a GPU that is none, and steps that wait or are slow."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.engines.rows import RowLoop, Step

FEW_STEPS = 3  # slow ones, that may begin while a server hears that somebody has left


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with the stand-ins for CUDA and TensorRT-RTX: `.cuda` and `.tensorrt`."""
    pytest.importorskip("cuda.bindings.runtime")
    pytest.importorskip("tensorrt_rtx")
    from runtime.engines.tensorrt import cuda, memory, plan_check
    from tests.runtime.stand_in_cuda import StandInCuda
    from tests.runtime.stand_in_tensorrt import StandInTensorRT

    stand_in = StandInCuda()
    library = StandInTensorRT(stand_in)
    for module in (cuda, memory):
        monkeypatch.setattr(module, "cudart", stand_in)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", library)
    monkeypatch.setattr(plan_check, "DRIVER_LIBRARY", None)  # this process itself: it loads
    return SimpleNamespace(cuda=stand_in, tensorrt=library)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Steps wait until this is set."""
    go_on = threading.Event()
    step = RowLoop.step

    def waiting(loop: RowLoop) -> list[Step]:
        assert go_on.wait(60)
        return step(loop)

    monkeypatch.setattr(RowLoop, "step", waiting)
    yield go_on
    go_on.set()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Slow steps, and when they were made."""
    made: list[float] = []
    step = RowLoop.step

    def slow(loop: RowLoop) -> list[Step]:
        time.sleep(0.01)
        made.append(time.monotonic())
        return step(loop)

    monkeypatch.setattr(RowLoop, "step", slow)
    return made
