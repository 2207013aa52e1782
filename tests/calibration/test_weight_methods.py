"""GPTQ, AWQ and SmoothQuant: do they do what their papers promise?"""

from __future__ import annotations

import numpy as np
import pytest

from calibration.methods.awq import search_awq
from calibration.methods.gptq import refit_scales, round_gptq
from calibration.methods.smoothquant import search_smoothquant, smoothing_factors
from calibration.methods.weight_scales import approximate_weight, weight_scales
from formats.number_formats import INT4, INT8, spread

OUT, IN, ROWS = 24, 96, 500


def random_weight() -> np.ndarray:
    return (np.random.default_rng(0).standard_normal((OUT, IN)) / IN**0.5).astype(np.float32)


def correlated_inputs() -> np.ndarray:
    """Inputs (500, 96) that live close to 12 dimensions."""
    random = np.random.default_rng(1)
    mixing = random.standard_normal((12, IN))
    noise = 0.1 * random.standard_normal((ROWS, IN))
    return (random.standard_normal((ROWS, 12)) @ mixing + noise).astype(np.float32)


def inputs_with_outliers() -> np.ndarray:
    """Inputs (500, 96) with a few channels fifty times as large as the others."""
    inputs = np.random.default_rng(2).standard_normal((ROWS, IN)).astype(np.float32)
    inputs[:, [5, 17, 60]] *= 50.0
    return inputs


def output_error(inputs: np.ndarray, approximation: np.ndarray) -> float:
    return float(np.square(inputs @ (approximation - random_weight()).T).mean())


@pytest.mark.parametrize("block", [32, IN])
def test_gptq_beats_rounding_to_nearest_on_correlated_inputs(block: int) -> None:
    weight, inputs = random_weight(), correlated_inputs()
    codes, scales = round_gptq(weight, inputs.T @ inputs, block, INT4, "max")
    assert codes.shape == weight.shape
    assert scales.shape == (OUT, IN // block)
    assert codes.min() >= -8
    assert codes.max() <= 7
    np.testing.assert_array_equal(codes, np.rint(codes))
    nearest = approximate_weight(weight, weight_scales(weight, block, INT4, "max"), INT4)
    ours = output_error(inputs, codes * spread(scales, IN))
    assert ours < 0.3 * output_error(inputs, nearest)


def test_gptq_rounds_to_nearest_where_inputs_are_independent() -> None:
    weight = random_weight()
    codes, _ = round_gptq(weight, np.eye(IN, dtype=np.float32), IN, INT4, "max")
    nearest = INT4.encode(weight, weight_scales(weight, IN, INT4, "max"))
    np.testing.assert_array_equal(codes, nearest)


def test_scales_are_refitted_to_the_codes() -> None:
    weight, inputs = random_weight(), correlated_inputs()
    gram = inputs.T @ inputs
    before = weight_scales(weight, 32, INT4, "max")
    codes = INT4.encode(weight, spread(before, IN))
    after = refit_scales(weight, codes, before, gram)
    ours, theirs = (output_error(inputs, codes * spread(scales, IN)) for scales in (after, before))
    assert ours < 0.9 * theirs
    np.testing.assert_array_equal(after, after.astype(np.float16))
    again = refit_scales(weight, codes, after, gram)
    assert output_error(inputs, codes * spread(again, IN)) > 0.9 * ours  # nothing is left to gain


def test_scales_of_codes_that_are_all_zero_stay() -> None:
    weight, before = random_weight(), np.full((OUT, 3), 0.5, np.float32)
    after = refit_scales(weight, np.zeros_like(weight), before, np.eye(IN, dtype=np.float32))
    np.testing.assert_array_equal(after, before)


def test_scales_reach_as_far_as_the_format() -> None:
    """The lowest INT4 code is -8, the largest 7."""
    weight = np.array([[-8.0, 7.0, 0.0, 1.0]], np.float32)
    np.testing.assert_array_equal(weight_scales(weight, 4, INT4, "max"), [[1.0]])


def test_a_negative_scale_gives_the_furthest_code_to_the_largest_value() -> None:
    weight = np.array([[8.0, -7.0, 0.0, 1.0], [-8.0, 7.0, 0.0, 1.0]], np.float32)
    scales = weight_scales(weight, 4, INT4, "signed")
    np.testing.assert_array_equal(scales, [[-1.0], [1.0]])
    np.testing.assert_array_equal(approximate_weight(weight, scales, INT4), weight)
    weight = random_weight()
    lost = {
        method: np.square(approximate_weight(weight, scales, INT4) - weight).sum()
        for method in ("mse", "signed")
        for scales in [weight_scales(weight, 32, INT4, method)]
    }
    assert lost["signed"] < 0.95 * lost["mse"]


def test_gptq_keeps_the_signs_of_scales_when_it_refits_them() -> None:
    weight, inputs = random_weight(), correlated_inputs()
    gram = inputs.T @ inputs
    codes, scales = round_gptq(weight, gram, 32, INT4, "signed")
    assert (scales < 0).any()
    assert (scales > 0).any()
    np.testing.assert_array_equal(scales, scales.astype(np.float16))
    other, theirs = round_gptq(weight, gram, 32, INT4, "mse")
    ours = output_error(inputs, codes * spread(scales, IN))
    assert ours < output_error(inputs, other * spread(theirs, IN))


def test_inputs_that_matter_more_are_rounded_better() -> None:
    weight = random_weight()
    importance = np.geomspace(1.0, 1e4, 32).astype(np.float32)

    def error(scales: np.ndarray) -> float:
        lost = (weight - approximate_weight(weight, scales, INT4)).reshape(OUT, -1, 32)
        return float((np.square(lost) @ importance).sum())

    weighted = weight_scales(weight, 32, INT4, "mse", importance)
    assert error(weighted) < error(weight_scales(weight, 32, INT4, "mse"))


def test_gptq_survives_channels_that_are_always_zero() -> None:
    inputs = correlated_inputs()
    inputs[:, 40:50] = 0.0
    codes, scales = round_gptq(random_weight(), inputs.T @ inputs, 32, INT4, "mse")
    assert np.isfinite(codes).all()
    assert np.isfinite(scales).all()
    codes, _ = round_gptq(random_weight(), np.zeros((IN, IN), np.float32), 32, INT4, "mse")
    assert np.isfinite(codes).all()


def test_awq_beats_rounding_to_nearest_where_channels_differ() -> None:
    weight, inputs = random_weight(), inputs_with_outliers()
    smoothing, alpha = search_awq(weight, inputs, 32, INT4)
    assert alpha > 0
    smoothed = weight * smoothing
    rounded = approximate_weight(smoothed, weight_scales(smoothed, 32, INT4, "max"), INT4)
    nearest = approximate_weight(weight, weight_scales(weight, 32, INT4, "max"), INT4)
    assert output_error(inputs, rounded / smoothing) < 0.7 * output_error(inputs, nearest)


def quantized_product(inputs: np.ndarray, weight: np.ndarray) -> np.ndarray:
    x = INT8.approximate(inputs, np.abs(inputs).max() / 127)
    return x @ approximate_weight(weight, weight_scales(weight, IN, INT8, "max"), INT8).T


def test_smoothquant_beats_plain_int8_where_channels_differ() -> None:
    weight, inputs = random_weight(), inputs_with_outliers()
    largest = np.abs(inputs).max(axis=0)
    factors, alpha = search_smoothquant(weight, inputs, largest, INT8, "max")
    assert factors is not None
    assert 0 < alpha < 1
    expected = inputs @ weight.T
    smoothed = quantized_product(inputs / factors, weight * factors) - expected
    plain = quantized_product(inputs, weight) - expected
    assert np.square(smoothed).mean() < 0.3 * np.square(plain).mean()


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_smoothing_changes_nothing_before_rounding(alpha: float) -> None:
    weight, inputs = random_weight(), inputs_with_outliers()
    inputs[:, 3] = 0.0
    factors = smoothing_factors(weight, np.abs(inputs).max(axis=0), alpha)
    assert (factors > 0).all()
    smoothed = (inputs / factors) @ (weight * factors).T
    expected = inputs @ weight.T
    assert np.abs(smoothed - expected).max() < 1e-5 * np.abs(expected).max()
