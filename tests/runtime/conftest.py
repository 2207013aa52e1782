"""Fixtures of the runtime's tests: a machine with a GPU that is none."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest


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
