"""`python -m runtime.gpu_check`: the report on stand-ins for CUDA and TensorRT, and refusals."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest

from commands.errors import UserError
from runtime.engines.tensorrt import gpu_driver
from runtime.gpu_check import main
from runtime.gpu_report import snr_db
from runtime.profile import main as profile
from runtime.profiling.report import read_report
from tests.runtime.tiny_bundle import Scenario, write_bundle

TEXT_ROWS = ("GPU ", "versions ", "codec SNR", "x the floor", "device_step, ms", "first audio, ms")


@pytest.fixture
def engine(gpu: Any, plain_folder: Path, tmp_path: Path) -> Path:
    from tests.runtime.stand_in_tensorrt import write_plans

    return write_plans(plain_folder, tmp_path / "plans", longest_part=128)


def check(engine: Path, reference: Path, output: Path, *arguments: str) -> int:
    folders = ["--engine", str(engine), "--reference", str(reference), "--output", str(output)]
    return main([*folders, "--threads", "1", "--runs", "2", *arguments])


@pytest.fixture
def small_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in's memory is smaller than what the bandwidth is measured with."""
    from runtime.engines.tensorrt import memory

    measure = memory.measure_bandwidth
    monkeypatch.setattr(memory, "measure_bandwidth", lambda: measure(4_096, 3))


def test_the_report(
    gpu: Any,
    engine: Path,
    plain_folder: Path,
    tmp_path: Path,
    small_copies: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "report"
    assert check(engine, plain_folder, folder) == 0
    assert sorted(os.listdir(folder)) == ["gpu-check.json", "gpu-check.txt", "profile.json"]
    report = json.loads((folder / "gpu-check.json").read_text())
    assert report["machine"]["gpu"]["name"] == "stand-in"
    assert report["machine"]["versions"]["numpy"] == np.__version__
    assert report["plans"]["version"] == "1.2.3"
    assert len(report["parity"]) == 6, "three sentences, greedily and with a seed"
    for row in report["parity"]:
        assert row["cpu_frames"] == row["gpu_frames"] > 0
        assert row["first_difference"] is None
        assert row["codec_snr_db"] is None
    [subject] = report["profile"]["subjects"]
    [same] = read_report(folder / "profile.json").subjects
    assert same.kind == subject["kind"]
    assert same.first_audio.p50 == subject["first_audio"]["p50"]
    counts = {stage["name"]: stage["seconds"]["count"] for stage in subject["stages"]}
    assert counts["device_prefill"] == 2
    assert counts["device_step"] == 2 * 12, "11 more steps of speech and the one that stops"
    assert counts["codec_chunk"] >= 2
    plans = [engine / "backbone.plan", engine / "mtp_head.plan"]
    assert report["floor"]["plan_bytes"] == sum(path.stat().st_size for path in plans)
    assert report["floor"]["step_floor_ms"] > 0
    text = (folder / "gpu-check.txt").read_text()
    assert text in capsys.readouterr().out
    for row in TEXT_ROWS:
        assert row in text


def test_differences_are_told(gpu: Any, engine: Path, tmp_path: Path, small_copies: None) -> None:
    other = write_bundle(tmp_path / "other", Scenario(codes_a=(10, 11, 12, 99, 14)))
    assert check(engine, other, tmp_path / "report") == 0
    report = json.loads((tmp_path / "report" / "gpu-check.json").read_text())
    assert {row["first_difference"] for row in report["parity"]} == {3}
    assert "     3 " in (tmp_path / "report" / "gpu-check.txt").read_text()


def test_snr() -> None:
    signal = np.array([3.0, 4.0], np.float32)
    assert snr_db(signal, signal) is None
    assert snr_db(signal, signal + np.float32(0.05)) == pytest.approx(36.99, abs=0.01)


def test_target_of_this_gpu(gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for capability, target in (
        ((8, 9), "--target tensorrt-rtx --sm 89"),
        ((8, 7), "--target tensorrt"),
    ):
        gpu.cuda.compute_capability = capability
        assert main(["--print-target"]) == 0
        assert capsys.readouterr().out == f"{target}\n"


@pytest.mark.parametrize(
    ("version", "onnxruntime_version", "dialect"),
    [
        ("10.3.0", "1.26.0", "basic"),
        ("10.16.1", "1.26.0", "portable"),
        ("11.4.1.1", "1.25.0", "portable"),
        ("11.4.1.1", "1.23.2", "basic"),
    ],
)
def test_dialect_of_this_gpu_s_library(
    gpu: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    onnxruntime_version: str,
    dialect: str,
) -> None:
    gpu.cuda.compute_capability = (8, 7)
    monkeypatch.setattr(onnxruntime, "__version__", onnxruntime_version)
    library = ModuleType("tensorrt")
    library.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    assert main(["--print-dialect"]) == 0
    assert capsys.readouterr().out == f"{dialect}\n"


def test_a_gpu_without_its_library(
    gpu: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.cuda.compute_capability = (8, 7)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert main(["--print-dialect"]) == 2
    assert "on a Jetson it comes with JetPack" in one_line(capsys)


def test_the_profile_runs_on_the_gpu(
    gpu: Any, engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert profile(["--engine", str(engine), "--runs", "1", "--text", "Abc."]) == 0
    table = capsys.readouterr().out
    for row in ("device_prefill, ms", "device_step, ms", "codec_chunk, ms"):
        assert row in table
    assert "outside of the stages" not in table, "stages overlap"


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_without_a_driver(
    plain_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the machine itself, without stand-ins."""
    runtime = pytest.importorskip("cuda.bindings.runtime")
    if runtime.cudaGetDeviceCount()[0] == runtime.cudaError_t.cudaSuccess:
        pytest.skip("a GPU is here")
    assert check(plain_folder, plain_folder, tmp_path / "report") == 2
    assert one_line(capsys).startswith("error: no NVIDIA ")
    assert not (tmp_path / "report").exists()
    assert main(["--print-target"]) == 2
    assert one_line(capsys).startswith("error: no NVIDIA ")


def test_mistakes(
    gpu: Any,
    engine: Path,
    plain_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    six = write_bundle(tmp_path / "six", Scenario(heads=6))
    assert check(engine, six, tmp_path / "report") == 2
    assert "its model has heads 6" in one_line(capsys)
    assert main(["--engine", str(engine)]) == 2
    assert "--reference is missing: name the bundle" in one_line(capsys)
    gpu.cuda.compute_capability = (5, 0)
    assert main(["--print-target"]) == 2
    assert "compute capability 5.0: no target" in one_line(capsys)


class Driver:
    """Stands in for libcuda."""

    def __init__(self, starts: int, gpus: int) -> None:
        self.starts, self.gpus = starts, gpus

    def cuInit(self, flags: int) -> int:
        return self.starts

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self.gpus
        return 0


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        (Driver(100, 0), "no NVIDIA GPU is visible"),
        (Driver(0, 0), "no NVIDIA GPU is visible"),
        (Driver(803, 1), "does not start .CUDA error 803"),
        (None, "no NVIDIA driver is here .libcuda"),
    ],
)
def test_a_gpu_is_looked_for_without_any_package(
    driver: Driver | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(library: str) -> Driver:
        if driver is None:
            raise OSError(library)
        return driver

    monkeypatch.setattr(gpu_driver.ctypes, "CDLL", load)
    with pytest.raises(UserError, match=message):
        gpu_driver.count_gpus("libcuda.so.1")


def test_gpus_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_driver.ctypes, "CDLL", lambda library: Driver(0, 2))
    assert main(["--find-gpu"]) == 0
    assert capsys.readouterr().out == "GPUs found: 2\n"
