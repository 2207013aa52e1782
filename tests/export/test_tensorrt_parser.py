"""TensorRT-RTX parses the very files of portable graphs, at every precision, and uses every
input. No GPU is needed for that.

Runs where the extra `tensorrt-rtx` is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from export.codec.decoder import build_codec_decoder
from export.graph.precisions import Precision
from export.readers.codec_checkpoint import open_codec
from runtime.bundle.manifest import GraphSpec
from runtime.bundle.names import BACKBONE, STANDARD
from tests.export.lm_exports import KINDS, Recipe, tiny_export
from tests.tiny_codec import make_codec_checkpoint

trt = pytest.importorskip("tensorrt_rtx")


def unused_inputs(network: Any) -> set[str]:
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    tensors = [layer.get_input(i) for layer in layers for i in range(layer.num_inputs)]
    used = {tensor.name for tensor in tensors if tensor is not None}
    return {network.get_input(i).name for i in range(network.num_inputs)} - used


def parse(folder: Path, spec: GraphSpec) -> Any:
    """The network, with all inputs of the graph and every one of them used."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse_from_file(str(folder / spec.file))
    errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
    assert parsed, f"{spec.file}: {errors}"
    assert network.num_inputs == len(spec.inputs)
    assert unused_inputs(network) == set(), spec.file
    return network


@pytest.mark.parametrize("dialect", STANDARD)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("recipe", KINDS, ids=str)
def test_graphs_are_parsed_completely(recipe: Recipe, precision: Precision, dialect: str) -> None:
    export = tiny_export(recipe, dialect, precision)
    for spec in export.graphs.values():
        parse(export.folder, spec)


@pytest.mark.parametrize("dialect", STANDARD)
def test_polygraphy_reports_nothing_that_is_not_supported(dialect: str) -> None:
    pytest.importorskip("polygraphy")
    export = tiny_export(KINDS[0], dialect, "fp16")
    file = export.folder / export.graphs[BACKBONE].file
    run = "from polygraphy.tools import main; main()"
    words = [sys.executable, "-c", run, "inspect", "capability", str(file)]
    environment = os.environ | {"POLYGRAPHY_USE_TENSORRT_RTX": "1"}
    done = subprocess.run(
        words, cwd=export.folder, env=environment, capture_output=True, text=True, check=True
    )
    assert "Graph is fully supported by TensorRT" in done.stdout


@pytest.mark.parametrize("activation", ["snake", "alias_free"])
def test_the_codec_decoder_has_states_of_fixed_sizes(tmp_path: Path, activation: str) -> None:
    codec = open_codec(make_codec_checkpoint(tmp_path, activation=activation))
    spec = build_codec_decoder(codec, "portable").save(tmp_path)
    network = parse(tmp_path, spec)
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    shapes = {output.name: tuple(output.shape) for output in outputs}
    past = {tensor.name: tensor.shape for tensor in spec.inputs}
    assert spec.states
    for state in spec.states:
        assert shapes[state.output] == (-1, *past[state.input][1:])
