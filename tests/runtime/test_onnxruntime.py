"""ONNX Runtime's providers: states in their memory, and no fallback to another one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime
import pytest

from commands.errors import UserError
from runtime import TTS, Sampling
from runtime.bundle.loading import load_bundle
from runtime.engines.onnxruntime import graphs as sessions
from runtime.engines.onnxruntime.graphs import OnnxRuntimeGraph, Provider
from tests.runtime.tiny_bundle import Scenario, write_bundle

HERE = set(onnxruntime.get_available_providers())
# The CPU's provider, driven as a GPU's: states are values of ONNX Runtime's own.
AS_ON_A_GPU = Provider("CPUExecutionProvider", "the CPU, as if it were a GPU", memory="cpu")


@pytest.mark.parametrize("kind", ["mtp", "ntp"])
def test_states_in_the_providers_memory(tmp_path: Path, kind: Literal["mtp", "ntp"]) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "engine", Scenario(kind=kind)))
    there = TTS(bundle, lambda name: OnnxRuntimeGraph(bundle, name, 1, AS_ON_A_GPU), "test")
    here = TTS(bundle, lambda name: OnnxRuntimeGraph(bundle, name, 1), "test")
    for seed in (1, 2):
        found, expected = (
            tts.synthesize("One. Two.", sampling=Sampling(seed=seed)) for tts in (there, here)
        )
        np.testing.assert_array_equal(found.frames, expected.frames)
        np.testing.assert_array_equal(found.audio, expected.audio)


@pytest.mark.parametrize(
    ("name", "provider", "install"),
    [
        ("onnxruntime-cuda", "CUDAExecutionProvider", "pip install onnxruntime-gpu"),
        ("onnxruntime-tensorrt", "TensorrtExecutionProvider", "pip install onnxruntime-gpu"),
        (
            "onnxruntime-tensorrt-rtx",
            "NvTensorRTRTXExecutionProvider",
            "pip install onnxruntime-ep-nv-tensorrt-rtx",
        ),
    ],
)
def test_providers_that_are_not_installed(
    plain_folder: Path, name: str, provider: str, install: str
) -> None:
    if provider in HERE:
        pytest.skip(f"{provider} is here")
    with pytest.raises(UserError, match=rf"^{provider} is not available .*{install}$") as error:
        TTS.load(plain_folder, run_with=name)
    assert "\n" not in str(error.value)


def test_a_provider_that_does_not_start(
    plain_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime would warn, and go on with the CPU."""
    cuda = "CUDAExecutionProvider"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [cuda, sessions.CPU.name])
    complaint = rf"could not start {cuda} and would use CPUExecutionProvider; check the NVIDIA"
    with pytest.raises(UserError, match=complaint):
        TTS.load(plain_folder, run_with="onnxruntime-cuda")


def test_the_cpu_says_so(plain_folder: Path) -> None:
    described = TTS.load(plain_folder, run_with="onnxruntime", threads=1).describe()
    assert described.endswith(f"ONNX Runtime {onnxruntime.__version__} on the CPU, 1 threads")
