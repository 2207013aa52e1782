"""Turns one weight into few bits, by the method of a recipe.

In: a weight (out, in), the statistics of its inputs, and a recipe. Out: a `QuantizedWeight` and the
exponent of its smoothing. It does not choose which weights are quantized.
"""

from __future__ import annotations

from dataclasses import dataclass

from calibration.measurement.statistics import InputStatistics
from calibration.methods.activation_scales import activation_scale
from calibration.methods.awq import search_awq
from calibration.methods.choices import (
    BLOCKS,
    METHODS,
    WEIGHT_ONLY,
    ActivationMethod,
    MethodName,
    WeightScaleMethod,
)
from calibration.methods.gptq import round_gptq
from calibration.methods.smoothquant import search_smoothquant
from calibration.methods.weight_scales import weight_scales
from commands.errors import UserError
from formats.calibration.quantized_weight import QuantizedWeight
from formats.number_formats import FORMATS, NumberFormat
from formats.precisions import FormatName
from formats.weights import Array


@dataclass(frozen=True)
class Recipe:
    """How weights are quantized. Raises `UserError` for a contradiction.

    method: None for the precision's default. activations: how the scale of inputs is found, if
    inputs are quantized. block: input channels that share a scale, for INT4 only.
    """

    precision: FormatName
    method: MethodName | None = None
    activations: ActivationMethod = "mse"
    weights: WeightScaleMethod = "mse"
    block: int = 32

    def __post_init__(self) -> None:
        possible = METHODS[self.precision]
        if self.method is not None and self.method not in possible:
            raise UserError(
                f"--method {self.method} is not for {self.precision}; take {' or '.join(possible)}"
            )
        if self.weights == "signed" and self.precision != "int4":
            raise UserError(f"--weights signed is for int4, not {self.precision}; take mse or max")
        if self.block not in BLOCKS:
            raise UserError(f"--block {self.block}; engines have kernels for {BLOCKS}")

    @property
    def form(self) -> NumberFormat:
        return FORMATS[self.precision]

    @property
    def chosen(self) -> MethodName:
        return self.method or METHODS[self.precision][0]

    @property
    def is_weight_only(self) -> bool:
        return self.precision in WEIGHT_ONLY

    def block_of(self, inputs: int) -> int:
        """Input channels that share a scale in a weight with `inputs` of them."""
        return self.block if self.is_weight_only else inputs

    def objection(self, inputs: int) -> str | None:
        """Why a weight with this many input channels cannot be quantized, or None."""
        if inputs % self.block_of(inputs):
            return f"{inputs} input channels are no multiple of {self.block}"
        return None


def quantize_weight(
    weight: Array, inputs: InputStatistics, recipe: Recipe
) -> tuple[QuantizedWeight, float | None]:
    """(quantized weight, alpha) of a weight (out, in); alpha is None without smoothing."""
    form, block = recipe.form, recipe.block_of(weight.shape[1])
    if recipe.chosen == "gptq":
        assert inputs.gram is not None
        codes, scales = round_gptq(weight, inputs.gram, block, form, recipe.weights)
        return QuantizedWeight(form, block, scales, codes=codes), None
    smoothing, alpha = _smoothing(weight, inputs, recipe)
    smoothed = weight if smoothing is None else weight * smoothing
    scales = weight_scales(smoothed, block, form, recipe.weights)
    step = None if recipe.is_weight_only else _input_scale(inputs, smoothing, recipe)
    quantized = QuantizedWeight(form, block, scales, smoothing, activation_scale=step)
    return quantized, None if smoothing is None else alpha


def _smoothing(
    weight: Array, inputs: InputStatistics, recipe: Recipe
) -> tuple[Array | None, float]:
    form, block = recipe.form, recipe.block_of(weight.shape[1])
    if recipe.chosen == "awq":
        return search_awq(weight, inputs.sample, block, form)
    if recipe.chosen == "smoothquant":
        return search_smoothquant(weight, inputs.sample, inputs.largest, form, recipe.activations)
    return None, 0.0


def _input_scale(inputs: InputStatistics, smoothing: Array | None, recipe: Recipe) -> float:
    divisor = 1.0 if smoothing is None else smoothing
    sample, largest = inputs.sample / divisor, float((inputs.largest / divisor).max())
    return activation_scale(recipe.activations, sample, largest, recipe.form)
