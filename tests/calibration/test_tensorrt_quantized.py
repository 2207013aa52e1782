"""TensorRT-RTX makes plans of the quantized graphs of every kind of model, without a GPU.

Each network is inspected first, as `export.build --target tensorrt-rtx` does. The demo voice goes
all the way in tests/samples/test_demo_plans.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.measurement.reference import write_observed
from calibration.measurement.statistics import LinearStatistics
from calibration.methods.quantize import Recipe, quantize_weight
from export.graph.precisions import GraphNumbers
from export.language_model.graphs import language_model_graphs
from export.plans.inspection import count_products, inspect
from export.plans.library import open_library
from export.plans.network import parse
from export.plans.plans import build_plan
from export.plans.precision_plan import plan_precision
from export.quantization.products import quantized_formats
from export.readers.checkpoint import open_checkpoint
from formats.number_formats import FormatName
from runtime.bundle.manifest import GraphSpec
from runtime.bundle.names import BACKBONE, MTP_HEAD, NTP_HEAD, TENSORRT_RTX
from runtime.engines.tensorrt.gpu_targets import check_targets
from tests.export import lm_exports

pytest.importorskip("tensorrt_rtx", reason="plans are built by the extra tensorrt-rtx")

BLOCKS = {"portable": 32, "basic": 64}
# GPU that has the precision; TensorRT-RTX has no float32 products for 75, and basic attention does.
OLDEST = {
    "portable": {"int8": 75, "fp8": 89, "int4": 80},
    "basic": {"int8": 80, "fp8": 89, "int4": 80},
}
LAYERS = 3
ATTENTION = {"portable": 1, "basic": 2}  # products that are no matrix products with a weight
# Products of a layer that are quantized: blocks of 32 channels do not divide down_proj's 112.
OF_A_LAYER = {"int8": 4, "fp8": 4, "int4": 3}
IN_HEAD = {"linear": 1, "mlp": 2, "transformer": 1 + 2 * 4}


def quantized_graphs(
    model: lm_exports.Recipe, precision: FormatName, dialect: str, folder: Path
) -> dict[str, GraphSpec]:
    """All graphs of a tiny model whose products are taken to have standard normal inputs."""
    checkpoint = open_checkpoint(lm_exports.tiny_checkpoint(model))
    log, _ = write_observed(checkpoint, folder)
    collector = LinearStatistics(log, with_gram=False)
    recipe, random = Recipe(precision, "nearest", block=BLOCKS[dialect]), np.random.default_rng(0)
    weights = {}
    for name, weight in collector.weights.items():
        inputs = weight.shape[1]
        if recipe.objection(inputs):
            continue
        collector.statistics[name].add(random.standard_normal((64, inputs)).astype(np.float32))
        weights[name], _ = quantize_weight(weight.read(), collector.statistics[name], recipe)
    formats = quantized_formats(weights, dialect)
    graphs = language_model_graphs(
        checkpoint, GraphNumbers(dialect, precision, formats), with_text_head=True
    )
    return {graph.name: graph.save(folder) for graph in graphs}


@pytest.mark.parametrize("dialect", BLOCKS)
@pytest.mark.parametrize("precision", OF_A_LAYER)
@pytest.mark.parametrize("model", lm_exports.KINDS, ids=str)
def test_quantized_graphs_become_plans(
    model: lm_exports.Recipe, precision: FormatName, dialect: str, tmp_path: Path
) -> None:
    """For the oldest GPU that has the precision."""
    library = open_library(TENSORRT_RTX)
    targets = check_targets(TENSORRT_RTX, (OLDEST[dialect][precision],), precision)
    products = {}
    for name, spec in quantized_graphs(model, precision, dialect, tmp_path).items():
        network = parse(library, name, spec, tmp_path)
        assert inspect(network, tmp_path, plan_precision(name, spec)) == [], name
        products[name] = count_products(network)
        plan = tmp_path / f"{name}.plan"
        build_plan(network, targets, plan)
        assert plan.read_bytes().startswith(b"vtrt")
    assert products[BACKBONE] == {
        precision: LAYERS * OF_A_LAYER[precision],
        "float16": LAYERS * (4 - OF_A_LAYER[precision] + ATTENTION[dialect]),
    }
    head = NTP_HEAD if model.heads == 1 else MTP_HEAD
    assert products[head][precision] >= 1
