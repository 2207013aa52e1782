"""Scales that are coarse do not make a graph wrong, and are blamed where they are too coarse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration.language_model import LanguageModel
from calibration.methods.quantize import Recipe
from calibration.pipeline import CalibrationOptions, Data, calibrate
from commands.errors import UserError
from export.checks import lm_checks
from export.checks.check import refuse_failures
from export.checks.differences import relative_difference, relative_noise
from export.checks.limits import LAST_PLACE_NOISE
from export.checks.lm_checks import POSITIONS, check_backbone
from export.graph.precisions import GraphNumbers
from export.graph.runner import GraphRunner
from export.language_model.graphs import language_model_graphs
from export.quantization.products import quantized_formats
from export.sources import SourceFolders, Sources, open_sources
from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.reader import open_calibration
from runtime.bundle.manifest import Check
from runtime.bundle.names import BACKBONE
from tests.calibration.recorded import write_tokens
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_models import make_lm_checkpoint

NOISE, CACHED = "backbone: noise of last places", "backbone: cached against whole: noise"
DIALECT = "portable"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    model = make_lm_checkpoint(folder / "model", heads=3, streams=TINY_STREAMS)
    return open_sources(SourceFolders(model, make_codec_checkpoint(folder / "codec"), {}))


@pytest.fixture(scope="module")
def weights(
    sources: Sources, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, QuantizedWeight]:
    """The coarsest that a calibration offers: the largest values decide, nothing is smoothed."""
    folder = tmp_path_factory.mktemp("coarse")
    tokens = write_tokens(folder, 3, utterances=8, frames=19)
    recipe = Recipe("int8", "nearest", "max", "max")
    options = CalibrationOptions(recipe, Data(tokens=tokens), folder / "scales")
    calibrate(LanguageModel(sources, DIALECT), options)
    opened = open_calibration(folder / "scales", sources.checkpoint.folder, "int8")
    return dict(opened.weights)


def checks_of(
    sources: Sources, weights: dict[str, QuantizedWeight], folder: Path
) -> dict[str, Check]:
    formats = quantized_formats(weights, DIALECT)
    graphs = language_model_graphs(sources.checkpoint, GraphNumbers(DIALECT, "int8", formats))
    spec = next(graph for graph in graphs if graph.name == BACKBONE).save(folder)
    rng = np.random.default_rng(0)
    rows = sources.checkpoint.rows("some", rng.integers(0, 200, POSITIONS), of=lm_checks.EMBEDDINGS)
    _, checks = check_backbone(folder, spec, rows.read()[None])
    return {check.name: check for check in checks}


def test_coarse_scales_pass(
    sources: Sources, weights: dict[str, QuantizedWeight], tmp_path: Path
) -> None:
    checks = checks_of(sources, weights, tmp_path)
    refuse_failures(checks.values(), calibrated=True)
    assert checks[CACHED].limit >= 1.25 * checks[NOISE].measured


def test_a_graph_that_loses_its_cache_is_found(
    sources: Sources,
    weights: dict[str, QuantizedWeight],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_in = lm_checks.read_in

    def forget(runner: GraphRunner, embeddings: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
        if len(sizes) == 1:
            return read_in(runner, embeddings, sizes)
        begun, ended = (
            read_in(runner, part, [part.shape[1]]) for part in np.split(embeddings, [20], axis=1)
        )
        return np.concatenate([begun, ended], axis=1)

    monkeypatch.setattr(lm_checks, "read_in", forget)
    checks = checks_of(sources, weights, tmp_path)
    assert checks[CACHED].measured > checks[CACHED].limit


def test_scales_that_are_too_coarse_are_blamed(
    sources: Sources, weights: dict[str, QuantizedWeight], tmp_path: Path
) -> None:
    def coarsen(weight: QuantizedWeight) -> QuantizedWeight:
        assert weight.activation_scale is not None
        return replace(weight, activation_scale=weight.activation_scale * 30)

    coarse = {name: coarsen(weight) for name, weight in weights.items()}
    checks = checks_of(sources, coarse, tmp_path)
    assert checks[NOISE].measured > LAST_PLACE_NOISE
    with pytest.raises(UserError, match=r"scales that are too coarse .* calibrate again with"):
        refuse_failures(checks.values(), calibrated=True)


def test_values_that_are_not_finite_are_not_the_calibrations_fault() -> None:
    broken = [
        Check("backbone: values that are not finite", 3, 0),
        Check(NOISE, np.nan, LAST_PLACE_NOISE),
    ]
    for calibrated in (True, False):
        with pytest.raises(UserError, match=r"damaged weights \(NaN, infinity\) are the usual"):
            refuse_failures(broken, calibrated=calibrated)


def test_differences_of_silence_and_of_other_shapes() -> None:
    nothing, something = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    for measure in (relative_difference, relative_noise):
        assert measure(nothing, nothing) == 0
        assert measure(something, something) == 0
        assert measure(something, nothing) > 1e5
        assert measure(nothing, something) == 1
        assert measure(something, something[:, :2]) == np.inf
        assert np.isnan(measure(np.full((1, 3), np.nan, np.float32), something))
