"""Engines beside ours: which are measured with what, and parts that are measured one by one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.cpu.compare import main
from benchmarks.cpu.peers import PEERS, codec_commands, read_pythons, step_commands
from commands.errors import UserError

PYTHONS = {name: f"/{name}/python" for name in PEERS}
FILES = (
    *("model", "codec", "codec.onnx", "optimum-fp32", "q8_0.gguf", "q4_0.gguf"),
    *("genai-int8", "genai-int4", "openvino-fp32", "openvino-int8", "openvino-int4"),
    *(f"onnxruntime-{precision}/backbone.onnx" for precision in ("fp32", "int8", "int4")),
)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder in which everything is there."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_every_precision_has_its_peers(published: Path) -> None:
    found = {
        precision: step_commands(published, PYTHONS, precision, 2)
        for precision in ("fp32", "int8", "int4")
    }
    openvino = {"OpenVINO", "OpenVINO's own export"}
    assert set(found["fp32"]) == {"PyTorch", "Optimum"} | openvino
    integers = {"onnxruntime-genai", "llama.cpp"} | openvino
    assert set(found["int8"]) == set(found["int4"]) == integers
    assert found["int4"]["llama.cpp"] == [
        *("/llama/python", "-m", "benchmarks.cpu.llama_worker", str(published / "q4_0.gguf"), "2")
    ]
    assert {found["fp32"][name][-1] for name in openvino} == {"f32"}, "it would take bfloat16"


def test_peers_that_were_not_named_are_not_measured(published: Path) -> None:
    assert step_commands(published, {}, "int8", 2) == {}
    assert set(step_commands(published, {}, "fp32", 2)) == {"PyTorch"}
    codecs = codec_commands(published, {}, 1)
    assert set(codecs) == {"PyTorch fp32", "ONNX Runtime of torch.onnx"}
    worker = [sys.executable, "-m", "benchmarks.cpu.codec_worker", "torch"]
    assert codecs["PyTorch fp32"] == [*worker, str(published / "codec"), "1"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"genai-int4: is not there; make it: make cpu-engines"):
        step_commands(tmp_path, {"genai": "python"}, "int4", 2)


@pytest.mark.parametrize("peer", ["onnx=python", "genai"])
def test_an_unknown_peer_is_refused(peer: str) -> None:
    assert read_pythons(["llama=a", "genai=b=c"]) == {"llama": "a", "genai": "b=c"}
    with pytest.raises(UserError, match="give NAME=PYTHON, with a name of openvino, llama"):
        read_pythons([peer])


def test_a_file_of_figures_is_printed_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cpu.json"
    figures = {"step int4, ms": {"native": 6.0, "llama.cpp": 15.0}}
    report = {"limits": {"reading, GB/s": 20}, "threads": 2, "figures": figures}
    path.write_text(json.dumps(report), encoding="utf-8")
    assert main(["--table", "--output", str(path)]) == 0
    assert "| step int4, ms | 6 (1.00) | 15 (2.50) |" in capsys.readouterr().out
    assert main(["--threads", "1", "--output", str(path)]) == 2
    assert "was measured with 2 threads; give another --output" in capsys.readouterr().err
    assert json.loads(path.read_text(encoding="utf-8")) == report
