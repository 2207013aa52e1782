"""TensorRT-RTX parses the very files of portable graphs, at every precision, and uses every
input. No GPU is needed for that.

Runs where the extra `tensorrt-rtx` is installed.
"""

from __future__ import annotations

from typing import Any

import pytest

from export.formats import Precision
from tests.export.lm_exports import Recipe, tiny_export

trt = pytest.importorskip("tensorrt_rtx")

MODELS = [
    Recipe(heads=6, speaker_aware=True),
    Recipe(heads=6, head_kind="mlp"),
    Recipe(heads=6, head_kind="transformer"),
    Recipe(heads=1),
]


def unused_inputs(network: Any) -> set[str]:
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    tensors = [layer.get_input(i) for layer in layers for i in range(layer.num_inputs)]
    used = {tensor.name for tensor in tensors if tensor is not None}
    return {network.get_input(i).name for i in range(network.num_inputs)} - used


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("recipe", MODELS, ids=str)
def test_portable_graphs_are_parsed_completely(recipe: Recipe, precision: Precision) -> None:
    export = tiny_export(recipe, "portable", precision)
    for name, spec in export.graphs.items():
        logger = trt.Logger(trt.Logger.ERROR)
        network = trt.Builder(logger).create_network(0)
        parser = trt.OnnxParser(network, logger)
        parsed = parser.parse_from_file(str(export.folder / spec.file))
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        assert parsed, f"{name}: {errors}"
        assert network.num_inputs == len(spec.inputs)
        assert unused_inputs(network) == set(), name
