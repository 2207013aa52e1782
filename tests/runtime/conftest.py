"""Fixtures of the runtime's tests: the hand-written bundle, written once a session."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runtime import TTS
from tests.runtime.tiny_bundle import write_bundle


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test may change."""
    return write_bundle(tmp_path_factory.mktemp("plain") / "engine")


@pytest.fixture(scope="session")
def tts(plain_folder: Path) -> TTS:
    return TTS.load(plain_folder, threads=1)


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
