"""Other engines on the same shapes: the command of each one's worker.

In: a folder that `make cpu-engines cpu-peers` fills, and the Python of each peer's environment.
Out: name of an engine -> command, for `contestants`. PyTorch and ONNX Runtime are in the
project's own environment. A peer that was not named is not measured.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from commands.errors import UserError

PEERS = ("openvino", "llama", "genai", "optimum")
INTEGERS = {"int8": "q8_0", "int4": "q4_0"}  # what llama.cpp calls them

Commands = dict[str, list[str]]


def read_pythons(given: list[str]) -> dict[str, str]:
    """NAME=PYTHON, once for each peer. Raises `UserError` for a name that no peer has."""
    pythons = {}
    for peer in given:
        name, mark, python = peer.partition("=")
        if not mark or name not in PEERS:
            raise UserError(f"--peer {peer}: give NAME=PYTHON, with a name of {', '.join(PEERS)}")
        pythons[name] = python
    return pythons


def step_commands(
    folder: Path, pythons: Mapping[str, str], precision: str, threads: int
) -> Commands:
    """What calculates steps of the published size's backbone in one precision."""
    commands = {}
    if precision == "fp32":
        commands["PyTorch"] = _worker(sys.executable, "torch", folder / "model", threads)
        if python := pythons.get("optimum"):
            commands["Optimum"] = _worker(python, "optimum", folder / "optimum-fp32", threads)
    if python := pythons.get("openvino"):
        graph = folder / f"onnxruntime-{precision}" / "backbone.onnx"
        numbers = ["f32"] if precision == "fp32" else []
        commands["OpenVINO"] = [*_worker(python, "openvino", graph, threads), *numbers]
        own = folder / f"openvino-{precision}"
        worker = _worker(python, "openvino_stateful", own, threads)
        commands["OpenVINO's own export"] = [*worker, *numbers]
    if precision in INTEGERS:
        if python := pythons.get("genai"):
            model = folder / f"genai-{precision}"
            commands["onnxruntime-genai"] = _worker(python, "genai", model, threads)
        if python := pythons.get("llama"):
            model = folder / f"{INTEGERS[precision]}.gguf"
            commands["llama.cpp"] = _worker(python, "llama", model, threads)
    return commands


def codec_commands(folder: Path, pythons: Mapping[str, str], threads: int) -> Commands:
    """What decodes whole utterances of the published codec in float32."""
    graph = folder / "codec.onnx"

    def worker(python: str, engine: str, source: Path) -> list[str]:
        command = _worker(python, "codec", source, threads)
        return [*command[:3], engine, *command[3:]]

    commands = {
        "PyTorch fp32": worker(sys.executable, "torch", folder / "codec"),
        "ONNX Runtime of torch.onnx": worker(sys.executable, "onnxruntime", graph),
    }
    if python := pythons.get("openvino"):
        commands["OpenVINO fp32"] = worker(python, "openvino", graph)
    return commands


def _worker(python: str, module: str, source: Path, threads: int) -> list[str]:
    if not source.exists():
        raise UserError(f"{source}: is not there; make it: make cpu-engines cpu-peers")
    return [python, "-m", f"benchmarks.cpu.{module}_worker", str(source), str(threads)]
