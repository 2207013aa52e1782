"""Heads in few bits: both dialects run in ONNX Runtime, and rows draw what they draw alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.measurement.reference import write_observed
from calibration.measurement.statistics import LinearStatistics
from calibration.methods.quantize import Recipe, quantize_weight
from export.checks.head_calls import greedy_inputs
from export.graph.precisions import GraphNumbers
from export.graph.runner import GraphRunner
from export.language_model.mtp_head import build_mtp_head
from export.quantization.products import quantized_formats
from export.readers.checkpoint import open_checkpoint
from formats.number_formats import FormatName
from runtime.bundle.manifest import GraphSpec
from runtime.bundle.names import CODES
from tests.export.lm_exports import Recipe as Model
from tests.export.lm_exports import tiny_checkpoint
from tests.tolerances import TOLERANCES

COUNT, POSITIONS = 4, 3


def quantized_head(model: Model, dialect: str, precision: FormatName, folder: Path) -> GraphSpec:
    """The head of a tiny model whose products are taken to have standard normal inputs."""
    checkpoint = open_checkpoint(tiny_checkpoint(model))
    log, _ = write_observed(checkpoint, folder)
    collector = LinearStatistics(log, with_gram=False)
    recipe, random = Recipe(precision, "nearest", block=64), np.random.default_rng(0)
    weights = {}
    for name, weight in collector.weights.items():
        inputs = weight.shape[1]
        if name.startswith("speech_heads") and not recipe.objection(inputs):
            collector.statistics[name].add(random.standard_normal((64, inputs)).astype(np.float32))
            weights[name], _ = quantize_weight(weight.read(), collector.statistics[name], recipe)
    formats = quantized_formats(weights, dialect)
    return build_mtp_head(checkpoint, GraphNumbers(dialect, precision, formats)).save(folder)


@pytest.mark.parametrize(
    ("dialect", "precision"),
    [
        ("ort", "int8"),
        ("ort", "int4"),
        ("portable", "int8"),
        ("portable", "int4"),
        ("basic", "int8"),
        ("basic", "int4"),
    ],
)
@pytest.mark.parametrize("head_kind", ["linear", "mlp", "transformer"])
def test_rows_draw_what_they_draw_alone(
    head_kind: str, dialect: str, precision: FormatName, tmp_path: Path
) -> None:
    spec = quantized_head(Model(6, head_kind), dialect, precision, tmp_path)
    random = np.random.default_rng(3)
    hidden = random.standard_normal((COUNT, POSITIONS, 64)).astype(np.float32)
    solo = [
        GraphRunner(tmp_path, spec, POSITIONS).run(greedy_inputs(spec, one[None], 0))[CODES]
        for one in hidden
    ]
    settings = greedy_inputs(spec, hidden[:1], 0)
    inputs = {name: np.repeat(value, COUNT, axis=0) for name, value in settings.items()}
    runner = GraphRunner(tmp_path, spec, POSITIONS, rows=COUNT)
    together = runner.run(inputs | {"hidden": hidden})[CODES]
    limit = TOLERANCES["codes of rows", precision, dialect].limit
    assert np.mean(together != np.concatenate(solo)) <= limit
    assert len({codes.tobytes() for codes in solo}) == COUNT
