"""Activation and weight scales against plain numpy; number formats against their definitions."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.methods.activation_scales import (
    PERCENTILE,
    activation_scale,
)
from calibration.methods.choices import ACTIVATION_METHODS, ActivationMethod
from calibration.methods.weight_scales import approximate_weight, weight_scales
from commands.errors import UserError
from formats.number_formats import (
    FORMATS,
    FP8,
    INT4,
    INT8,
    NumberFormat,
    pack_nibbles,
    unpack_nibbles,
)

HALF = 2.0**-11  # scales are rounded to float16


def heavy_tailed(seed: int = 0) -> np.ndarray:
    """Values (300, 50) as inputs of a transformer's layers are: narrow, with a few far away."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((300, 50)).astype(np.float32)
    values[random.random(values.shape) < 0.0005] *= 40.0
    return values


def squared_error(values: np.ndarray, scale: float) -> float:
    return float(np.mean((values - np.clip(np.rint(values / scale), -127, 127) * scale) ** 2))


def test_max_and_percentile_are_what_numpy_says() -> None:
    values = heavy_tailed()
    assert activation_scale("max", values, 99.0, INT8) == pytest.approx(99.0 / 127, rel=HALF)
    expected = np.percentile(np.abs(values), PERCENTILE) / 127
    assert activation_scale("percentile", values, 99.0, INT8) == pytest.approx(expected, rel=HALF)


def test_mse_is_the_best_threshold_of_a_fine_search() -> None:
    values = heavy_tailed()
    largest = float(np.abs(values).max())
    scale = activation_scale("mse", values, largest, INT8)
    best = min(squared_error(values, largest * share / 127) for share in np.linspace(0.02, 1, 400))
    assert squared_error(values, scale) <= 1.05 * best
    assert squared_error(values, scale) < squared_error(values, largest / 127)


def test_entropy_cuts_a_tail_and_keeps_a_uniform_distribution() -> None:
    values = heavy_tailed()
    largest = float(np.abs(values).max())
    assert activation_scale("entropy", values, largest, INT8) * 127 < 0.5 * largest
    uniform = np.random.default_rng(0).uniform(-3, 3, (300, 50)).astype(np.float32)
    assert activation_scale("entropy", uniform, 3.0, INT8) * 127 > 0.95 * 3.0


def test_entropy_is_refused_for_fp8() -> None:
    with pytest.raises(UserError, match="entropy"):
        activation_scale("entropy", heavy_tailed(), 1.0, FP8)


@pytest.mark.parametrize("method", ACTIVATION_METHODS)
def test_zeros_have_a_positive_scale(method: ActivationMethod) -> None:
    assert activation_scale(method, np.zeros((4, 3), np.float32), 0.0, INT8) > 0
    zeros = np.zeros((3, 8), np.float32)
    assert (weight_scales(zeros, 4, INT8, "mse") > 0).all()


@pytest.mark.parametrize("block", [12, 36])
def test_weight_scales_are_those_of_their_block(block: int) -> None:
    weight = np.random.default_rng(1).standard_normal((7, 36)).astype(np.float32)
    scales = weight_scales(weight, block, INT8, "max")
    assert scales.shape == (7, 36 // block)
    for row in range(7):
        for number in range(36 // block):
            part = weight[row, number * block : (number + 1) * block]
            assert scales[row, number] == pytest.approx(np.abs(part).max() / 127, rel=HALF)


def test_clipping_weights_lowers_their_error() -> None:
    weight = np.random.default_rng(2).standard_normal((5, 128)).astype(np.float32)
    errors = {
        method: np.square(approximate_weight(weight, scales, INT4) - weight).sum()
        for method in ("max", "mse")
        for scales in [weight_scales(weight, 64, INT4, method)]
    }
    assert errors["mse"] < 0.9 * errors["max"]


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
def test_rounding_rounds_to_the_nearest_code(form: NumberFormat) -> None:
    codes = np.unique(form.round(np.linspace(form.lowest, form.largest, 20011, dtype=np.float32)))
    values = np.random.default_rng(3).uniform(-500, 500, 1000).astype(np.float32)
    nearest = codes[np.abs(codes - values[:, None]).argmin(axis=1)]
    chosen = form.encode(values, 1.0)
    np.testing.assert_allclose(np.abs(chosen - values), np.abs(nearest - values))
    assert form.encode(np.zeros(1, np.float32), 1.0) == 0


def test_fp8_codes_are_those_of_e4m3() -> None:
    codes = FP8.encode(np.linspace(-600, 600, 999, dtype=np.float32), 1.0)
    np.testing.assert_array_equal(codes.astype(ml_dtypes.float8_e4m3fn).astype(np.float32), codes)
    assert codes.max() == 448


@given(st.lists(st.integers(0, 15), min_size=2, max_size=64).filter(lambda x: len(x) % 2 == 0))
def test_nibbles_survive_packing(codes: list[int]) -> None:
    array = np.array(codes, np.uint8)
    packed = pack_nibbles(array)
    assert packed[0] == codes[0] + 16 * codes[1]
    np.testing.assert_array_equal(unpack_nibbles(packed), array)
