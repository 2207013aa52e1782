"""The demo voice at every precision: calibrated on a few words, built for all GPUs that have it.

TensorRT-RTX builds the plans on the CPU; nothing can run them there. What fewer bits do to the
speech is judged elsewhere (benchmarks/quantized_voice.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from calibration.language_model import LanguageModel
from calibration.methods.quantize import Recipe
from calibration.pipeline import CalibrationOptions, Data, calibrate
from export.build import main
from export.checks import check
from export.options import Source
from export.sources import find_sources, open_sources
from formats.number_formats import FORMATS
from formats.precisions import PRECISIONS
from runtime.bundle.loading import load_bundle
from runtime.bundle.names import BACKBONE, TENSORRT_RTX
from runtime.engines.tensorrt.plan_check import plans_of, read_plan

pytest.importorskip("tensorrt_rtx", reason="plans are built by the extra tensorrt-rtx")

HEADS = 6
WORDS = ("Yes.", "No.", "Two.", "Why?")  # the last one is held out
AMPERE_ON, ADA_ON = ("8.0", "8.6", "8.9", "12.0"), ("8.9", "12.0")
GPUS = {"fp16": AMPERE_ON, "bf16": AMPERE_ON, "int8": AMPERE_ON, "fp8": ADA_ON, "int4": AMPERE_ON}
FLOATS = {"bf16": "bfloat16"}  # float16 in all others
LAYERS, PRODUCTS = 6, 4


@pytest.fixture(scope="module")
def scales(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A calibration for each precision that needs one, by the quickest method."""
    folder = tmp_path_factory.mktemp("scales")
    sources = open_sources(find_sources(Source(heads=HEADS)))
    for precision in FORMATS:
        recipe = Recipe(precision, "nearest", "max", "max")
        options = CalibrationOptions(recipe, Data(WORDS), folder / precision)
        calibrate(LanguageModel(sources, "portable"), options)
    return {precision: folder / precision for precision in FORMATS}


def test_there_are_gpus_for_every_precision() -> None:
    assert {*GPUS} == {*PRECISIONS} - {"fp32"}


@pytest.mark.parametrize("precision", GPUS)
def test_the_demo_voice_becomes_plans(
    precision: str,
    scales: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(check, "parity_is_possible", lambda: False)  # export's own tests compare
    words = ["--target", TENSORRT_RTX, "--heads", str(HEADS), "--precision", precision]
    if precision in scales:
        words += ["--calibration", str(scales[precision])]
    assert main([*words, "--output", str(tmp_path / "engine")]) == 0

    printed, floats = capsys.readouterr().out, FLOATS.get(precision, "float16")
    in_layers = {precision: LAYERS * PRODUCTS, floats: LAYERS} if precision in scales else {}
    products = in_layers or {floats: LAYERS * (PRODUCTS + 1)}
    listed = ", ".join(f"{count} {kind}" for kind, count in products.items())
    assert f"build backbone.plan (products: {listed})" in printed
    bundle = load_bundle(tmp_path / "engine")
    assert plans_of(bundle).compute_capabilities == GPUS[precision]
    for name in bundle.manifest.graphs:
        assert read_plan(bundle, name).startswith(b"vtrt")
    assert bundle.graph(BACKBONE).precision == precision
