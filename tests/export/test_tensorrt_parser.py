"""TensorRT-RTX parses every portable graph and uses every input. No GPU is needed for that.

Runs where the extra `tensorrt-rtx` is installed.
"""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from runtime.bundle import CAPACITY, GraphSpec
from tests.export.lm_exports import Export, Recipe, tiny_export

trt = pytest.importorskip("tensorrt_rtx")

MODELS = [
    Recipe(heads=6, speaker_aware=True),
    Recipe(heads=6, head_kind="mlp"),
    Recipe(heads=6, head_kind="transformer"),
    Recipe(heads=1),
]
ENGINE_CAPACITY = 256  # TensorRT's cache operator needs a fixed one


def serialized(export: Export, spec: GraphSpec) -> bytes:
    """The saved model with the cache's capacity as a number."""
    model = onnx.load(export.folder / spec.file)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == CAPACITY:
                dimension.dim_value = ENGINE_CAPACITY
    return model.SerializeToString()


def unused_inputs(network: Any) -> set[str]:
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    tensors = [layer.get_input(i) for layer in layers for i in range(layer.num_inputs)]
    used = {tensor.name for tensor in tensors if tensor is not None}
    return {network.get_input(i).name for i in range(network.num_inputs)} - used


@pytest.mark.parametrize("recipe", MODELS, ids=str)
def test_portable_graphs_are_parsed_completely(recipe: Recipe) -> None:
    export = tiny_export(recipe, "portable")
    for name, spec in export.graphs.items():
        logger = trt.Logger(trt.Logger.ERROR)
        network = trt.Builder(logger).create_network(0)
        parser = trt.OnnxParser(network, logger)
        parsed = parser.parse(serialized(export, spec))
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        assert parsed, f"{name}: {errors}"
        assert network.num_inputs == len(spec.inputs)
        assert unused_inputs(network) == set(), name
