"""`python -m export.build --target …`: bundles of plans, and what is refused.

TensorRT-RTX builds the plans on a machine without a GPU; nothing can run them there. TensorRT
itself cannot be had without its device: its path is driven with TensorRT-RTX's module in its
place, which has the same calls. Runs where the extra `tensorrt-rtx` is installed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import onnx
import onnxruntime
import pytest

from commands.errors import UserError
from export.build import main
from export.checks import check
from export.graph.onnxruntime_version import check_onnxruntime
from export.plans import device, library, targets
from export.plans.device import Device
from export.plans.plans import narrow_profiles
from export.plans.trtexec import trtexec_lines
from formats.files.hashing import sha256_file
from runtime.bundle import names
from runtime.bundle.loading import describe_file, load_bundle
from runtime.bundle.manifest import encode_manifest, read_manifest
from runtime.bundle.names import MANIFEST_FILE, PORTABLE, STEP, TENSORRT, TENSORRT_RTX
from runtime.engines.tensorrt import plan_check as engine_check
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_models import make_lm_checkpoint

rtx = pytest.importorskip("tensorrt_rtx")

HEADER = b"vtrt"  # of TensorRT-RTX's plans


@pytest.fixture(autouse=True)
def _without_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "parity_is_possible", lambda: False)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_codec_checkpoint(folder / "codec", activation="snake", transformer_layers=1)
    make_lm_checkpoint(folder / "model", heads=6, speaker_aware=True, streams=TINY_STREAMS)
    return folder


@pytest.fixture(scope="module")
def portable(inputs: Path) -> Path:
    """A portable bundle in fp16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "parity_is_possible", lambda: False)
        output = inputs / "portable"
        sources = ("--model", inputs / "model", "--codec", inputs / "codec")
        options = ("--dialect", "portable", "--precision", "fp16")
        assert run(*sources, *options, "--output", output) == 0
    return output


def run(*arguments: str | Path | int) -> int:
    return main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], status: int, output: Path, *words: str) -> None:
    """One line on stderr with all of `words`, status 2, and nothing left behind."""
    message = capsys.readouterr().err
    assert status == 2
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    for word in words:
        assert word in message
    assert list(output.parent.iterdir()) == []


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "engine"


# What is built.


def test_an_engine_from_a_bundle(
    portable: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--target", TENSORRT_RTX, "--sm", 89, 120, "--bundle", portable)
    assert run(*words, "--output", output) == 0
    printed = capsys.readouterr().out
    assert "build backbone.plan (products: 15 float16)" in printed
    assert "compute capability 8.9, 12.0" in printed

    bundle, source = load_bundle(output), load_bundle(portable)
    plans = engine_check.plans_of(bundle)
    assert bundle.manifest.engine.kind == TENSORRT_RTX
    assert plans.version == rtx.__version__ == bundle.manifest.built_with[TENSORRT_RTX]
    assert plans.compute_capabilities == ("8.9", "12.0")
    assert (plans.platform, plans.precision, plans.timing_cache) == (None, "fp16", None)
    assert plans.source_sha256 == sha256_file(portable / MANIFEST_FILE)
    assert engine_check.rebuild_command(bundle, "8.6") == (
        f"python -m export.build --target tensorrt-rtx --sm 86 --precision fp16 "
        f"--bundle {portable} --output {output}"
    )
    assert bundle.manifest.graphs.keys() == source.manifest.graphs.keys()
    for name, spec in bundle.manifest.graphs.items():
        graph = narrow_profiles(source.manifest.graphs[name])
        assert spec == msgspec.structs.replace(graph, file=f"{name}.plan", weights=None)
        for kind, ranges in spec.profiles.items():
            most = bundle.manifest.engine.rows if kind == STEP else 1
            assert names.ROWS not in ranges or ranges[names.ROWS].max == most, "steps have rows"
        assert engine_check.read_plan(bundle, name).startswith(HEADER)
    assert not list(output.glob("*.onnx*"))
    for file in ("tokenizer.json", "embeddings.npy"):
        assert (output / file).read_bytes() == (portable / file).read_bytes()
    assert engine_check.import_library(bundle) is rtx


def test_an_engine_from_a_checkpoint_replaces_another(inputs: Path, output: Path) -> None:
    shutil.copytree(inputs / "portable", output)
    words = ("--model", inputs / "model", "--codec", inputs / "codec", "--max-positions", 300)
    status = run("--target", TENSORRT_RTX, "--precision", "bf16", *words, "--output", output)
    assert status == 0
    bundle = load_bundle(output)
    plans = engine_check.plans_of(bundle)
    assert plans.precision == "bf16"
    assert plans.compute_capabilities == ("8.0", "8.6", "8.9", "12.0")
    assert f"--model {inputs / 'model'}" in plans.source_options
    assert plans.source_options.endswith("--max-positions 300")
    cache = next(t for t in bundle.graph("backbone").inputs if t.name == "past_key_0")
    assert (cache.dtype, cache.shape) == ("bfloat16", ("rows", 2, 300, 16))
    assert bundle.manifest.engine.rows == 4
    assert "--rows" not in plans.source_options
    assert [path.name for path in output.parent.iterdir()] == ["engine"]


def test_tensorrt_itself_builds_for_its_device(
    portable: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a timing cache, which the next build starts from."""
    install_tensorrt(monkeypatch, "10.16.1.11")
    seen: list[bytes] = []
    config = rtx.IBuilderConfig
    create = config.create_timing_cache

    def remember(self: Any, old: bytes) -> Any:
        seen.append(old)
        return create(self, old)

    monkeypatch.setattr(config, "create_timing_cache", remember)
    for _ in range(2):
        assert run("--target", TENSORRT, "--bundle", portable, "--output", output) == 0
    bundle = load_bundle(output)
    plans = engine_check.plans_of(bundle)
    assert (bundle.manifest.engine.kind, plans.version) == (TENSORRT, "10.16.1.11")
    assert plans.compute_capabilities == ("8.7",)
    assert plans.platform == engine_check.this_platform()
    assert plans.timing_cache == "timing.cache"
    graphs = len(bundle.manifest.graphs)
    assert seen[0] == b""
    assert len(seen[graphs]) > 0  # the second build begins with what the first one left
    assert len(seen) == 2 * graphs


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_plans_of_basic_graphs(inputs: Path, output: Path, precision: str) -> None:
    """int8, fp8 and int4 are in tests/calibration/test_tensorrt_quantized.py."""
    model = ("--model", inputs / "model", "--codec", inputs / "codec", "--max-positions", 200)
    words = ("--target", TENSORRT_RTX, "--sm", 89, "--dialect", "basic", "--precision", precision)
    assert run(*words, *model, "--output", output) == 0
    bundle = load_bundle(output)
    assert bundle.manifest.engine.dialect == "basic"
    assert engine_check.plans_of(bundle).precision == precision
    for name in bundle.manifest.graphs:
        assert engine_check.read_plan(bundle, name).startswith(HEADER)


@pytest.mark.parametrize(
    ("version", "dialect", "why"),
    [("10.3.0", "basic", "before 10.15"), ("10.16.1.11", "portable", "10.15 or newer")],
)
def test_the_dialect_is_the_one_that_the_tensorrt_reads(
    inputs: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    dialect: str,
    why: str,
) -> None:
    if dialect == PORTABLE:
        check_onnxruntime()
    install_tensorrt(monkeypatch, version)
    words = ("--model", inputs / "model", "--codec", inputs / "codec", "--max-positions", 200)
    assert run("--target", TENSORRT, *words, "--output", output) == 0
    printed = capsys.readouterr().out
    assert f"graphs in the {dialect} dialect: TensorRT {version} is {why}" in printed
    engine = load_bundle(output).manifest.engine
    assert (engine.kind, engine.dialect) == (TENSORRT, dialect)


def test_the_dialect_is_one_that_can_be_checked(
    inputs: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.23.2")
    words = ("--model", inputs / "model", "--codec", inputs / "codec", "--max-positions", 200)
    rtx = ("--target", TENSORRT_RTX, "--sm", 89, "--precision", "fp16")
    assert run(*rtx, *words, "--output", output) == 0
    why = "ONNX Runtime 1.23.2 cannot check the portable one"
    assert f"graphs in the basic dialect: {why}" in capsys.readouterr().out
    assert load_bundle(output).manifest.engine.dialect == "basic"


def install_tensorrt(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """TensorRT-RTX under TensorRT's name, with a version of TensorRT, on a Jetson Orin."""
    module = ModuleType("tensorrt")
    module.__dict__.update(rtx.__dict__, __version__=version)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(targets, "find_device", lambda: Device("Orin", "8.7"))
    library.open_library.cache_clear()


@pytest.fixture(autouse=True)
def _forget_libraries() -> Any:
    yield
    library.open_library.cache_clear()


# Commands of NVIDIA's.


def test_trtexec_lines(portable: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--target", TENSORRT, "--bundle", portable, "--print-trtexec") == 0
    needs, *lines = capsys.readouterr().out.splitlines()
    assert needs == "# portable graphs: TensorRT 10.15 or newer"
    assert len(lines) == len(load_bundle(portable).manifest.graphs)
    backbone = next(line for line in lines if "backbone.onnx" in line)
    assert backbone.startswith(
        f"trtexec --onnx={portable}/backbone.onnx --saveEngine=backbone.plan"
    )
    assert "--stronglyTyped" in backbone
    prefill, step = backbone.split("--profile=0 ")[1].split(" --profile=1 ")
    for shapes, usual, greatest, rows in (
        (prefill, "1x64x64", "1x512x64", 1),
        (step, "1x1x64", "16x1x64", 16),
    ):
        assert "--minShapes=inputs_embeds:1x1x64,past_length:1,past_key_0:1x2x" in shapes
        assert f"--optShapes=inputs_embeds:{usual},past_length:1,past_key_0:1x2x" in shapes
        most = f"--maxShapes=inputs_embeds:{greatest},past_length:{rows},past_key_0:{rows}x2x"
        assert most in shapes
    projection = next(line for line in lines if "speaker_projection.onnx" in line)
    assert projection.endswith(
        " --minShapes=speaker:1x256 --optShapes=speaker:1x256 --maxShapes=speaker:1x256"
    )


def test_lines_for_tensorrt_rtx_name_the_gpus(portable: Path) -> None:
    gpus = (library.GpuTarget("8.9", "Ada", "", ("fp16",), (TENSORRT_RTX,)),)
    line = next(trtexec_lines(load_bundle(portable), TENSORRT_RTX, gpus))
    assert line.startswith("tensorrt_rtx ")
    assert "--computeCapabilities=8.9" in line
    assert "--stronglyTyped" not in line


# What is refused: before any work, and with nothing left behind.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sm", "89"), ("--sm goes with --target tensorrt-rtx",)),
        (("--bundle", "x"), ("--bundle goes with --target tensorrt-rtx",)),
        (("--print-trtexec",), ("--print-trtexec goes with",)),
        (("--target", "tensorrt-rtx", "--dialect", "ort"), ("portable or basic graphs",)),
        (("--target", "tensorrt-rtx", "--bundle", "x", "--heads", "6"), ("--heads cannot",)),
        (("--target", "tensorrt-rtx", "--precision", "fp32"), ("no attention in fp32",)),
        (("--target", "tensorrt-rtx", "--sm", "75", "--precision", "bf16"), ("Turing 7.5",)),
        (("--target", "tensorrt-rtx", "--sm", "87"), ("Jetson Orin", "--target tensorrt")),
        (("--target", "tensorrt-rtx", "--sm", "5"), ("there are 75 80 86 89 120 121",)),
        (("--target", "tensorrt", "--print-trtexec"), ("--bundle DIR",)),
    ],
)
def test_contradictions(
    output: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: Any
) -> None:
    refused(capsys, run(*arguments, "--output", output), output, *words)


def test_another_precision_than_the_bundle_s(
    portable: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--target", TENSORRT_RTX, "--precision", "bf16", "--bundle", portable)
    refused(capsys, run(*words, "--output", output), output, "are fp16", "leave it out")


def test_a_bundle_without_a_codec(
    portable: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(portable, tmp_path / "other"))
    graphs = dict(read_manifest(other).graphs)
    del graphs["codec_decoder"]
    rewrite(other, graphs=graphs)
    status = run("--target", TENSORRT_RTX, "--bundle", other, "--output", output)
    refused(capsys, status, output, "has no codec_decoder graph; export it again")


def test_a_bundle_of_another_dialect(
    tiny_engine: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(tiny_engine, tmp_path / "other"))
    graphs = read_manifest(other).graphs
    half = msgspec.structs.replace(graphs["backbone"], precision="fp16")  # what is asked for
    rewrite(other, graphs=graphs | {"backbone": half})
    status = run("--target", TENSORRT_RTX, "--bundle", other, "--output", output)
    refused(capsys, status, output, "holds the ort dialect", "--dialect portable")


def test_a_bundle_without_ranges(
    portable: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(portable, tmp_path / "other"))
    graphs = read_manifest(other).graphs
    bare = msgspec.structs.replace(graphs["backbone"], profiles={})
    rewrite(other, graphs=graphs | {"backbone": bare})
    status = run("--target", TENSORRT_RTX, "--bundle", other, "--output", output)
    refused(capsys, status, output, "backbone: the bundle gives no range for its positions")


def rewrite(folder: Path, **changes: Any) -> None:
    """Replace fields of a bundle's manifest, and describe its files anew."""
    manifest = msgspec.structs.replace(read_manifest(folder), **changes)
    files = {file: describe_file(folder / file) for file in manifest.files}
    manifest = msgspec.structs.replace(manifest, files=files)
    (folder / MANIFEST_FILE).write_bytes(encode_manifest(manifest))


def test_a_graph_with_a_fault(
    portable: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(portable, tmp_path / "other"))
    model = onnx.load(other / "backbone.onnx")
    visible = next(node for node in model.graph.node if node.op_type == "LessOrEqual")
    visible.input[1] = visible.input[0]  # everything is visible, whatever the position
    onnx.save(model, other / "backbone.onnx")
    rewrite(other)
    status = run("--target", TENSORRT_RTX, "--bundle", other, "--output", output)
    refused(capsys, status, output, "no plan is built", "does not depend on past_length")


def test_what_the_builder_cannot_compile(
    portable: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorRT-RTX has no fp32 products for Turing, and the codec has some."""
    status = run("--target", TENSORRT_RTX, "--sm", 75, "--bundle", portable, "--output", output)
    refused(capsys, status, output, "cannot build it", "FP32 GEMM is not supported")


def test_a_device_without_a_driver(
    portable: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "DRIVER_LIBRARY", "libcuda-that-is-not-there.so.1")
    status = run("--target", TENSORRT, "--bundle", portable, "--output", output)
    refused(capsys, status, output, "libcuda-that-is-not-there.so.1", "--target tensorrt-rtx")


def test_a_gpu_that_is_not_here(
    portable: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_tensorrt(monkeypatch, "11.4.1.1")
    words = ("--target", TENSORRT, "--sm", 90, "--bundle", portable)
    refused(capsys, run(*words, "--output", output), output, "Orin with 87", "other device")


@pytest.mark.parametrize("kind", [TENSORRT, TENSORRT_RTX])
def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    library.open_library.cache_clear()
    monkeypatch.setitem(sys.modules, engine_check.LIBRARIES[kind], None)
    with pytest.raises(UserError, match="cannot be imported") as caught:
        library.open_library(kind)
    assert engine_check.INSTALL[kind] in str(caught.value)


@pytest.mark.parametrize("version", ["8.6.2.3", "10.0.1"])
def test_a_tensorrt_that_is_too_old(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install_tensorrt(monkeypatch, version)
    with pytest.raises(UserError, match=r"needs 10\.3 or newer \(JetPack 6\.1"):
        library.open_library(TENSORRT)


@pytest.mark.parametrize("version", ["10.3.0", "10.7.0.23", "10.14.1"])
def test_a_tensorrt_that_does_not_read_the_bundle(
    portable: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    version: str,
) -> None:
    install_tensorrt(monkeypatch, version)
    status = run("--target", TENSORRT, "--bundle", portable, "--output", output)
    said = ("of the portable dialect", "needs 10.15 or newer", "--dialect basic")
    refused(capsys, status, output, str(portable), f"TensorRT {version}", *said)


def test_a_dialect_that_the_tensorrt_does_not_read(
    inputs: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_tensorrt(monkeypatch, "10.3.0")
    words = ("--model", inputs / "model", "--codec", inputs / "codec", "--dialect", "portable")
    status = run("--target", TENSORRT, *words, "--output", output)
    refused(capsys, status, output, "--dialect portable", "TensorRT 10.3.0", "--dialect basic")
