"""TensorRT-RTX parses the quantized portable graphs and builds engines of them, without a GPU.

Runs where the extra `tensorrt-rtx` is installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.methods import Recipe, quantize_weight
from calibration.statistics import InputStatistics
from export.checkpoint import open_checkpoint
from export.language_model import language_model_graphs
from export.number_formats import FormatName
from export.quantized_products import quantized_formats
from export.weights import Weight
from runtime.bundle import BACKBONE, MTP_HEAD
from tests.tiny_models import make_lm_checkpoint

trt = pytest.importorskip("tensorrt_rtx")

TARGETS = {"int8": "SM75", "fp8": "SM89", "int4": "SM80"}


def quantized_graphs(folder: Path, precision: FormatName) -> dict[str, Path]:
    """Backbone and head of a tiny model whose inputs are taken to be standard normal."""
    checkpoint = open_checkpoint(make_lm_checkpoint(folder / "model", heads=3))
    plain = list(language_model_graphs(checkpoint, "portable", "fp16"))
    recipe = Recipe(precision, "nearest")
    random = np.random.default_rng(0)
    weights = {}
    for graph in plain:
        for name, shape in graph.products.items():
            if recipe.objection(shape[1]):
                continue
            inputs = InputStatistics(shape[1], with_gram=False)
            inputs.add(random.standard_normal((64, shape[1])).astype(np.float32))
            weight = Weight(name, shape, lambda shape=shape: random.standard_normal(shape))
            weights[name], _ = quantize_weight(weight.read(), inputs, recipe)
    formats = quantized_formats(weights, "portable")
    graphs = language_model_graphs(checkpoint, "portable", precision, formats)
    return {graph.name: folder / graph.save(folder).file for graph in graphs}


@pytest.mark.parametrize("precision", TARGETS)
def test_quantized_graphs_become_engines(precision: FormatName, tmp_path: Path) -> None:
    paths = quantized_graphs(tmp_path, precision)
    for name in (BACKBONE, MTP_HEAD):
        logger = trt.Logger(trt.Logger.ERROR)
        builder = trt.Builder(logger)
        network = builder.create_network(0)
        parser = trt.OnnxParser(network, logger)
        parsed = parser.parse_from_file(str(paths[name]))
        assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
        types = layer_types(network)
        assert types.count(trt.LayerType.DEQUANTIZE) >= (9 if name == BACKBONE else 1)
        assert (trt.LayerType.QUANTIZE in types) == (precision != "int4")
        if name == BACKBONE:
            assert len(build(builder, network, precision)) > 1000


def layer_types(network: Any) -> list[Any]:
    return [network.get_layer(index).type for index in range(network.num_layers)]


def build(builder: Any, network: Any, precision: FormatName) -> bytes:
    """An engine for the oldest GPU that has the precision."""
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, TARGETS[precision]), 0)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if -1 in tuple(tensor.shape):
            sizes = [tuple(size if s == -1 else s for s in tensor.shape) for size in (1, 8, 64)]
            profile.set_shape(tensor.name, *sizes)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    assert engine is not None
    return bytes(engine)
