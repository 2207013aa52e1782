"""The names of methods, and the precisions they are for. Standard library only, for `--help`."""

from __future__ import annotations

from typing import Literal, get_args

from formats.precisions import FormatName

MethodName = Literal["nearest", "smoothquant", "awq", "gptq"]
ActivationMethod = Literal["max", "percentile", "entropy", "mse"]
WeightScaleMethod = Literal["max", "mse", "signed"]

METHOD_NAMES: tuple[MethodName, ...] = get_args(MethodName)
ACTIVATION_METHODS: tuple[ActivationMethod, ...] = get_args(ActivationMethod)
WEIGHT_SCALE_METHODS: tuple[WeightScaleMethod, ...] = get_args(WeightScaleMethod)

# The methods of each precision; the first one is the default.
METHODS: dict[FormatName, tuple[MethodName, ...]] = {
    "int8": ("smoothquant", "nearest"),
    "fp8": ("nearest",),
    "int4": ("gptq", "awq", "nearest"),
}
BLOCKS = (32, 64, 128)  # input channels that share a scale: engines have kernels for these
WEIGHT_ONLY: tuple[FormatName, ...] = ("int4",)  # inputs stay floats
