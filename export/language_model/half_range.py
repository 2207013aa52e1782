"""Factors that keep a decoder layer inside the range of float16, whatever its input.

In: a layer's weights. Out: weights of the same layer, some multiplied by powers of two, and two
gains, by which the layer's two updates are multiplied in float32. Nothing is measured. An
RMS-normed vector is no longer than sqrt(H), so the weights give a bound for every value that is
computed from it (Cauchy-Schwarz). Where a bound is beyond float16, the weights that make the value
are divided by a factor, and what is computed from the value is multiplied by it. Powers of two
change no digit. Models do need this: Qwen2.5 has "massive activations" (arXiv 2402.17762) in its
MLP products.

The residual stream itself has no bound; it stays in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from commands.errors import UserError
from export.graph.model_graph import AttentionGeometry
from export.language_model.decoder_weights import DecoderWeights
from formats.weights import Array, Weight, as_weight

LIMIT = 32768.0  # half of float16's range: leaves room for rounding


@dataclass(frozen=True)
class LayerGains:
    """Factors of a layer's two updates of the residual stream, applied in float32."""

    attention: float = 1.0
    mlp: float = 1.0


NO_GAINS = LayerGains()


@dataclass(frozen=True)
class LayerFit:
    """What keeps a layer in range: its gains, and a factor (…, I) for each channel of its MLP."""

    gains: LayerGains
    factors: Array


def fit_layer(
    weights: DecoderWeights, geometry: AttentionGeometry
) -> tuple[DecoderWeights, LayerGains]:
    """The same layer with no value beyond float16's range, except the residual stream.

    Raises:
        UserError: queries, keys, values or gates can be too large. A factor would not help,
            because what follows is not linear.
    """
    fit = find_fit(weights, geometry)
    return scale_layer(weights, fit), fit.gains


def find_fit(weights: DecoderWeights, geometry: AttentionGeometry) -> LayerFit:
    """What `fit_layer` needs. Raises `UserError` as it does."""
    qkv = normed_reach(weights.qkv, weights.input_norm, weights.qkv_bias)
    require_reach(weights.qkv, qkv)
    attention = _power_of_two(
        np.abs(weights.attention_output.read()) @ _attended_reach(qkv, geometry)[..., None]
    )
    gate, up = np.split(normed_reach(weights.gate_up, weights.mlp_norm), 2, axis=-1)
    require_reach(weights.gate_up, gate)
    factors = _powers_of_two(np.maximum(gate, 1.0) * up)  # one for each channel of the MLP
    mlp = _power_of_two(np.abs(weights.down.read()) @ (gate * up)[..., None])
    return LayerFit(LayerGains(attention, mlp), factors)


def scale_layer(weights: DecoderWeights, fit: LayerFit) -> DecoderWeights:
    """The layer that computes the same with the gains and factors of `fit`."""
    factors, gains = fit.factors, fit.gains
    up_factors = np.concatenate([np.ones_like(factors), 1.0 / factors], axis=-1)
    return replace(
        weights,
        attention_output=_scaled(weights.attention_output, np.array(1.0 / gains.attention)),
        gate_up=_scaled(weights.gate_up, up_factors[..., :, None]),
        down=_scaled(weights.down, factors[..., None, :] / gains.mlp),
    )


def normed_reach(weight: Weight, norm: Weight, bias: Weight | None = None) -> Array:
    """Largest magnitudes (…, out) of weight (…, out, H) · RMSNorm(x) + bias, over all x."""
    rows = weight.read() * norm.read()
    reach = np.sqrt(rows.shape[-1] * np.einsum("...i,...i->...", rows, rows))
    return reach if bias is None else reach + np.abs(bias.read()).reshape(reach.shape)


def require_reach(weight: Weight, reach: Array) -> None:
    """Raise `UserError` if what `weight` makes can be beyond float16's range."""
    if not (largest := float(reach.max())) <= LIMIT:
        raise UserError(
            f"{weight.name}: its outputs can reach {largest:.3g}, too much for float16; "
            "export with --precision bf16 or fp32"
        )


def _attended_reach(qkv: Array, geometry: AttentionGeometry) -> Array:
    """Largest magnitudes (…, heads · D) of attention's output, which are those of the values."""
    channels = geometry.kv_heads * geometry.head_dim
    values = qkv[..., -channels:].reshape(*qkv.shape[:-1], geometry.kv_heads, geometry.head_dim)
    repeated = np.repeat(values, geometry.query_heads // geometry.kv_heads, axis=-2)
    return repeated.reshape(*qkv.shape[:-1], -1)


def _powers_of_two(reach: Array) -> Array:
    """The least powers of two, 1 or more, that bring each value of `reach` below the limit."""
    return np.exp2(np.ceil(np.log2(np.maximum(reach / LIMIT, 1.0)))).astype(np.float32)


def _power_of_two(reach: Array) -> float:
    return float(_powers_of_two(reach).max())


def _scaled(weight: Weight, factors: Array) -> Weight:
    return weight if np.all(factors == 1.0) else weight.scaled(as_weight("factors", factors))
