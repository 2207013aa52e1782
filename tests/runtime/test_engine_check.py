"""What stands between a plan and TensorRT: each misfit is one line with the way out."""

from __future__ import annotations

import ctypes.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from commands.errors import UserError
from runtime.bundle.loading import Bundle, describe_file, load_bundle
from runtime.bundle.manifest import EngineSpec, PlansSpec, encode_manifest, read_manifest
from runtime.bundle.names import MANIFEST_FILE, TENSORRT, TENSORRT_RTX
from runtime.engines.tensorrt import gpu_targets
from runtime.engines.tensorrt import plan_check as engine_check
from tests.runtime.tiny_bundle import with_fixed_capacity

PLAN = b"vtrt, not a real plan: these checks end before a library reads it"
VERSION = "1.7.1.116"


def make_engine(folder: Path, kind: str = TENSORRT_RTX, **changes: Any) -> Bundle:
    """Turn a bundle of ONNX graphs into one of plans."""
    manifest = read_manifest(folder)
    graphs = {}
    for name, graph in manifest.graphs.items():
        (folder / graph.file).unlink()
        (folder / f"{name}.plan").write_bytes(PLAN + name.encode())
        graph = with_fixed_capacity(graph)
        graphs[name] = msgspec.structs.replace(graph, file=f"{name}.plan", precision="fp8")
    spec = PlansSpec(
        version=VERSION,
        compute_capabilities=("8.9", "12.0"),
        platform=None,
        precision="fp8",
        source_sha256="0" * 64,
        source_options="--model my-model --codec facodec",
    )
    spec = msgspec.structs.replace(spec, **changes)
    files = {
        path.relative_to(folder).as_posix(): describe_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST_FILE
    }
    manifest = msgspec.structs.replace(
        manifest, engine=EngineSpec(kind, "portable", plans=spec), graphs=graphs, files=files
    )
    (folder / MANIFEST_FILE).write_bytes(encode_manifest(manifest))
    return load_bundle(folder)


@pytest.fixture
def folder(plain_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain_folder, tmp_path / "engine"))


@pytest.fixture
def engine(folder: Path) -> Bundle:
    return make_engine(folder)


def refusal(check: Any, *arguments: object) -> str:
    """The message of the `UserError`: one line that names the engine."""
    with pytest.raises(UserError) as caught:
        check(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def install(monkeypatch: pytest.MonkeyPatch, name: str, version: str) -> ModuleType:
    """A module of that name, as far as these checks look at it."""
    module = ModuleType(name)
    module.__dict__["__version__"] = version
    monkeypatch.setitem(sys.modules, name, module)
    return module


REBUILD = "python -m export.build --target tensorrt-rtx --sm {} --precision {} \
--model my-model --codec facodec --output {}"


def test_the_plan_that_was_built_is_the_one_that_is_read(engine: Bundle) -> None:
    assert engine_check.read_plan(engine, "backbone") == PLAN + b"backbone"


def test_a_bundle_for_the_cpu_has_no_plans(folder: Path) -> None:
    message = refusal(engine_check.plans_of, load_bundle(folder))
    assert "is built for onnxruntime" in message
    assert "--target tensorrt-rtx" in message


def test_a_plan_without_a_manifest(engine: Bundle) -> None:
    (engine.folder / MANIFEST_FILE).unlink()
    for place in (engine.folder, engine.folder / "backbone.plan"):
        message = refusal(load_bundle, place)
        assert f"{place}: a plan is not loaded without" in message
        assert "python -m export.build" in message


def test_a_plan_that_was_changed_before_loading(engine: Bundle) -> None:
    (engine.folder / "backbone.plan").write_bytes(PLAN + b"backdoor")
    assert "content differs from its hash" in refusal(load_bundle, engine.folder)


def test_a_plan_that_was_changed_after_the_bundle_was_checked(engine: Bundle) -> None:
    (engine.folder / "backbone.plan").write_bytes(PLAN + b"backdoor")
    message = refusal(engine_check.read_plan, engine, "backbone")
    assert "is not the plan that the manifest describes, so it is not loaded" in message
    assert REBUILD.format("89 120", "fp8", engine.folder) in message


def test_a_gpu_that_it_was_built_for(engine: Bundle) -> None:
    engine_check.check_gpu(engine, "NVIDIA GeForce RTX 4090", "8.9")
    engine_check.check_gpu(engine, "NVIDIA GeForce RTX 5090", "12.0")


@pytest.mark.parametrize(
    ("name", "capability", "words"),
    [
        ("DGX Spark", "12.1", ("has 12.1", REBUILD.format("121", "fp8", "{}"))),
        ("RTX 3090", "8.6", ("cannot compute in fp8", REBUILD.format("86", "fp16", "{}"))),
        ("H100", "9.0", ("--target tensorrt --precision fp8",)),
        ("GTX 1080", "6.1", ("no plans can be built for it",)),
    ],
)
def test_another_gpu(engine: Bundle, name: str, capability: str, words: tuple[str, ...]) -> None:
    message = refusal(engine_check.check_gpu, engine, name, capability)
    assert f"are for compute capability 8.9, 12.0, {name} has {capability}" in message
    for word in words:
        assert word.format(engine.folder) in message


def test_another_version_of_the_library(engine: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "tensorrt_rtx", "1.8.0.1")
    message = refusal(engine_check.import_library, engine)
    assert f"are for TensorRT-RTX {VERSION}, here is 1.8.0.1" in message
    assert REBUILD.format("89 120", "fp8", engine.folder) in message


def test_the_very_version(engine: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    module = install(monkeypatch, "tensorrt_rtx", VERSION)
    assert engine_check.import_library(engine) is module


@pytest.mark.parametrize(
    ("kind", "module", "title", "mend"),
    [
        (TENSORRT_RTX, "tensorrt_rtx", "TensorRT-RTX", "[tensorrt-rtx]"),
        (TENSORRT, "tensorrt", "TensorRT", "JetPack"),
    ],
)
def test_a_library_that_is_not_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str, title: str, mend: str
) -> None:
    engine = make_engine(folder, kind)
    monkeypatch.setitem(sys.modules, module, None)  # import fails
    message = refusal(engine_check.import_library, engine)
    assert f"needs {title} {VERSION}, which cannot be imported" in message
    assert mend in message


def test_a_library_whose_own_libraries_are_missing(
    engine: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> ModuleType:
        raise OSError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(engine_check.importlib, "import_module", fail)
    assert "libnvinfer.so.10: cannot open" in refusal(engine_check.import_library, engine)


def test_a_missing_driver(engine: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_check, "DRIVER_LIBRARY", "libcuda-that-is-not-there.so.1")
    message = refusal(engine_check.check_driver, engine)
    assert "libcuda-that-is-not-there.so.1 of its driver is missing" in message
    assert "--gpus all" in message


def test_a_driver(engine: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_check, "DRIVER_LIBRARY", ctypes.util.find_library("c"))
    engine_check.check_driver(engine)


def test_another_platform(folder: Path) -> None:
    engine = make_engine(folder, TENSORRT, platform="plan9-sparc")
    message = refusal(engine_check.check_platform, engine)
    assert "its plans are for plan9-sparc" in message
    assert "--target tensorrt --precision fp8 --model my-model" in message
    engine_check.check_platform(make_engine_again(engine, engine_check.this_platform()))
    engine_check.check_platform(make_engine_again(engine, None))


def make_engine_again(engine: Bundle, platform: str | None) -> Bundle:
    plans = msgspec.structs.replace(engine_check.plans_of(engine), platform=platform)
    kind = msgspec.structs.replace(engine.manifest.engine, plans=plans)
    return Bundle(engine.folder, msgspec.structs.replace(engine.manifest, engine=kind))


def test_plans_in_fp32_are_rebuilt_in_fp32(folder: Path) -> None:
    """Every GPU computes in fp32."""
    engine = make_engine(folder, TENSORRT, precision="fp32", compute_capabilities=("8.9",))
    for compute_capability in ("7.5", "8.7", "12.1"):
        message = refusal(engine_check.check_gpu, engine, "another", compute_capability)
        assert f"another has {compute_capability}; rebuild: python -m export.build" in message
        assert "--target tensorrt --precision fp32" in message


# Which GPU can do what.


@pytest.mark.parametrize("sm", gpu_targets.TARGETS)
def test_every_gpu_computes_in_fp32(sm: int) -> None:
    assert gpu_targets.check_targets(TENSORRT, (sm,), "fp32")[0].sm == sm
    assert "fp32" in gpu_targets.TARGETS[sm].precisions(TENSORRT)
    assert "fp32" not in gpu_targets.TARGETS[sm].precisions(TENSORRT_RTX)


def test_targets_are_checked_before_any_work() -> None:
    targets = gpu_targets.check_targets(TENSORRT_RTX, (89, 120, 89), "fp8")
    assert [target.compute_capability for target in targets] == ["8.9", "12.0"]


@pytest.mark.parametrize(
    ("kind", "sms", "precision", "words"),
    [
        (TENSORRT_RTX, (86, 89), "fp8", ("Ampere 8.6", "leave out --sm 86", "int8")),
        (TENSORRT_RTX, (75,), "int4", ("Turing 7.5", "has fp16, int8")),
        (TENSORRT_RTX, (75, 89), "bf16", ("Turing 7.5", "leave out --sm 75")),
        (TENSORRT_RTX, (89,), "fp32", ("no attention in fp32",)),
        (TENSORRT_RTX, (80, 120), "fp8", ("Ampere 8.0", "leave out --sm 80")),
        (TENSORRT_RTX, (87,), "fp16", ("Jetson Orin", "export.build --target tensorrt")),
        (TENSORRT_RTX, (90,), "fp16", ("H100", "export.build --target tensorrt")),
        (TENSORRT_RTX, (100,), "fp16", ("B200", "export.build --target tensorrt")),
        (TENSORRT_RTX, (110,), "fp16", ("Jetson Thor", "export.build --target tensorrt")),
        (TENSORRT_RTX, (61,), "fp16", ("there are 75 80 86 89 120 121",)),
        (TENSORRT, (87,), "fp8", ("Jetson Orin", "int8")),
        (TENSORRT, (80,), "fp8", ("A100", "int4")),
    ],
)
def test_targets_that_cannot_be(
    kind: str, sms: tuple[int, ...], precision: str, words: tuple[str, ...]
) -> None:
    message = refusal(gpu_targets.check_targets, kind, sms, precision)
    for word in words:
        assert word in message
