"""The CUDA kernel's arithmetic, compiled for the host, against PyTorch; and that nvcc takes it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tolerances import limit
from train.codec_model.alias_free import AliasFreeActivation

ROOT = Path(__file__).parents[2]
KERNEL = ROOT / "native" / "alias_free_snake" / "kernel.cu"
CHANNELS = 7
REACH = 5
TILE = 512  # kTile in core.h: lengths around it matter
ARCHITECTURES = (75, 120)  # the oldest and the newest; CMake compiles all that CMakeLists.txt lists
NO_COMPILER = not (shutil.which("cmake") and (shutil.which("c++") or shutil.which("g++")))

needs_compiler = pytest.mark.skipif(NO_COMPILER, reason="no cmake or no C++ compiler")


def run(*command: str | Path) -> None:
    finished = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    run("cmake", "-S", ROOT, "-B", folder, "-DSLM_CUDA=OFF")
    run("cmake", "--build", folder)
    return folder


@pytest.fixture(scope="module")
def module() -> AliasFreeActivation:
    """Filters without symmetry, which would hide reversed ones; frequencies that bend."""
    torch.manual_seed(3)
    activation = AliasFreeActivation(CHANNELS).requires_grad_(False)
    activation.act.alpha.normal_(0.0, 0.7)
    activation.act.beta.normal_(0.0, 0.7)
    activation.upsample.filter.add_(0.02 * torch.randn(12))
    activation.downsample.lowpass.filter.add_(0.02 * torch.randn(12))
    return activation


def tile_by_tile(
    build: Path, module: AliasFreeActivation, window: np.ndarray, ends: tuple[int, int], offset: int
) -> np.ndarray:
    """Window float32 (C, samples + 2 · offset) -> (C, samples)."""
    (library,) = build.glob("libslm_kernels_host.*")
    function = ctypes.CDLL(str(library)).slm_alias_free_snake
    window = np.ascontiguousarray(window)
    channels, length = window.shape
    output = np.full((channels, length - 2 * offset), np.nan, np.float32)
    inputs = (
        window,
        module.act.alpha.exp().numpy(),
        (1 / (module.act.beta.exp() + 1e-9)).numpy(),
        module.upsample.filter.numpy(),
        module.downsample.lowpass.filter.numpy(),
    )
    sizes = (*ends, channels, length, output.shape[1], offset)
    arguments: list[Any] = [ctypes.c_void_p(array.ctypes.data) for array in inputs]
    function(*arguments, *map(ctypes.c_int64, sizes), ctypes.c_void_p(output.ctypes.data))
    return output


def pytorchs(module: AliasFreeActivation, signal: np.ndarray) -> np.ndarray:
    return module(torch.from_numpy(signal)[None])[0].numpy()


def assert_close(measured: np.ndarray, expected: np.ndarray) -> None:
    assert measured.shape == expected.shape
    difference = np.abs(measured - expected).max() / np.abs(expected).max()
    assert difference <= limit("alias_free_snake", "fp32", "native")


def random_signal(samples: int) -> np.ndarray:
    values = np.random.default_rng(samples).normal(0.0, 3.0, (CHANNELS, samples))
    return values.astype(np.float32)


@needs_compiler
@pytest.mark.parametrize("samples", [1, 2, 3, 5, 11, 12, TILE - 1, TILE, TILE + 1, 3 * TILE + 7])
def test_a_whole_signal_is_pytorchs(build: Path, module: AliasFreeActivation, samples: int) -> None:
    signal = random_signal(samples)
    output = tile_by_tile(build, module, signal, (0, samples - 1), offset=0)
    assert_close(output, pytorchs(module, signal))


@needs_compiler
@pytest.mark.parametrize("size", [1, 4, 13, 2 * TILE])
def test_chunks_with_context_join_to_the_whole(
    build: Path, module: AliasFreeActivation, size: int
) -> None:
    """Whatever lies outside the signal: windows reach past its ends and hold garbage there."""
    samples, margin = 67, REACH
    signal = random_signal(samples)
    garbage = np.full((CHANNELS, margin), 1e6, np.float32)
    past_end = np.repeat(garbage, 1 + size // margin, axis=1)
    padded = np.concatenate([garbage, signal, garbage, past_end], axis=1)
    chunks = []
    for start in range(0, samples, size):
        window = padded[:, start : start + size + 2 * margin]
        ends = (margin - start, margin - start + samples - 1)
        chunks.append(tile_by_tile(build, module, window, ends, offset=margin))
    joined = np.concatenate(chunks, axis=1)
    assert np.isfinite(joined).all()
    assert_close(joined[:, :samples], pytorchs(module, signal))


@needs_compiler
def test_the_tests_in_cpp_pass(build: Path) -> None:
    run("ctest", "--test-dir", build, "--output-on-failure")


@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc")
def test_nvcc_compiles_the_kernel(tmp_path: Path) -> None:
    targets = [f"-gencode=arch=compute_{sm},code=sm_{sm}" for sm in ARCHITECTURES]
    run("nvcc", "-std=c++17", "-c", KERNEL, "-o", tmp_path / "kernel.o", *targets)
