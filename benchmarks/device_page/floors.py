"""The least time of a step: the weights that it reads, over the bandwidth of the memory.

In: the shapes of a model, and the number format of its products. Out: bytes that one step of one
sequence reads, counted as the native engine lays them out, which is what its profiles say
(`slm_facts.step_bytes`). A step also reads the keys and values of its context, at the published
size 12 kB a position in float16: 3 MB after 256.
"""

from __future__ import annotations

from collections.abc import Mapping

from export.native.layout import LANES, PANEL, Format, Layout, round_up
from export.quantization.products import ORT_BLOCK
from formats.checkpoint.language_model_config import LanguageModelConfig
from runtime.bundle.interfaces import MTP_SPECIAL, NTP_SPECIAL

FLOOR_FORMATS: tuple[Format, ...] = ("fp32", "fp16", "int8", "int4")
INT4_BLOCK = 32  # inputs that share a scale, as `calibration.run` makes it by default
FLOAT, HALF = 4, 2  # bytes
BITS: Mapping[Format, int] = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int4": 4}


def step_bytes(config: LanguageModelConfig, form: Format, block: int = INT4_BLOCK) -> int:
    """Bytes that a step reads: layers, heads, and a row of the code embeddings for each code.

    block: inputs that share a scale in int4.
    """
    norm = round_up(config.hidden_size, LANES) * FLOAT
    layers = config.num_hidden_layers * _layer_bytes(config, form, block)
    codes = config.heads * config.hidden_size * (FLOAT if form == "fp32" else HALF)
    return layers + norm + _head_bytes(config, form, block) + codes


def least_real_time_factor(step_seconds: float, config: LanguageModelConfig) -> float:
    """Seconds of steps for a second of speech."""
    codes_per_second = config.streams.frames_per_second * config.streams.count
    return step_seconds * codes_per_second / config.heads


def _layer_bytes(config: LanguageModelConfig, form: Format, block: int) -> int:
    """A decoder layer: four products and two norms."""
    hidden, inner = config.hidden_size, config.intermediate_size
    keys = config.num_key_value_heads * config.head_dim
    return (
        _matrix_bytes(form, hidden + 2 * keys, hidden, block, has_bias=True)
        + _matrix_bytes(form, hidden, hidden, block)
        + _matrix_bytes(form, 2 * inner, hidden, block)
        + _matrix_bytes(form, hidden, inner, block)
        + 2 * round_up(hidden, LANES) * FLOAT
    )


def _head_bytes(config: LanguageModelConfig, form: Format, block: int) -> int:
    """All heads; of a next-token model the mean of its streams, because a step uses one."""
    streams, hidden = config.streams, config.hidden_size
    if config.kind == "ntp":
        outputs = (size + NTP_SPECIAL for size in streams.sizes)
        total = sum(_matrix_bytes(form, each, hidden, block, has_bias=True) for each in outputs)
        return total // streams.count
    return sum(_one_head_bytes(config, form, block, number) for number in range(config.heads))


def _one_head_bytes(config: LanguageModelConfig, form: Format, block: int, number: int) -> int:
    streams, hidden = config.streams, config.hidden_size
    is_first_frame = number < streams.count  # it has no pad
    outputs = streams.sizes[number % streams.count] + MTP_SPECIAL - is_first_frame
    if config.head_implement == "mlp":
        inner = _matrix_bytes(form, 2 * hidden, hidden, block, has_bias=True)
        return inner + _matrix_bytes(form, outputs, 2 * hidden, block, has_bias=True)
    output = _matrix_bytes(form, outputs, hidden, block, has_bias=True)
    if config.head_implement == "transformer":
        output += config.head_transformers_layer * _layer_bytes(config, form, block)
    return output


def _matrix_bytes(
    form: Format, outputs: int, inputs: int, block: int, has_bias: bool = False
) -> int:
    filled = {"int8": ORT_BLOCK, "int4": block}.get(form, 0)
    layout = Layout(form, outputs, inputs, block=filled)
    codes = layout.panels * layout.inputs * PANEL * BITS[form] // 8
    scales = {"int8": 1, "int4": layout.inputs // block}.get(form, 0)
    bias = FLOAT if has_bias else 0
    return codes + layout.panels * PANEL * (scales * HALF + bias)
