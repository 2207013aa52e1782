"""The codec's transformer encoder (prosody, timbre) as graph nodes.

In and out: frames (1, T, C). Pre-norm layers that attend over all frames. Names of weights are
the published ones (FACodec, arXiv 2403.03100).
"""

from __future__ import annotations

import numpy as np

from export.codec.layers import CodecLayers
from export.graph.writer import Value
from formats.weights import Array


def transformer_encoder(layers: CodecLayers, x: Value, name: str) -> Value:
    """All layers of the encoder `name` and its final LayerNorm."""
    config = layers.codec.config
    position = layers.graph.constant(_first_position(config.latent_channels), f"{name}.position")
    x = layers.graph.op.Add(x, position)
    for index in range(config.transformer_layers):
        x = _encoder_layer(layers, x, f"{name}.layers.{index}")
    return layers.frame_norm(x, f"{name}.last_ln")


def _first_position(channels: int) -> Array:
    """Row 0 of the sinusoidal position table: sine 0, cosine 1, in turn.

    The published code indexes its table by batch item instead of frame. A single utterance
    therefore gets row 0 at every frame, which the weights expect.
    """
    row = np.zeros((1, 1, channels), np.float32)
    row[..., 1::2] = 1.0
    return row


def _encoder_layer(layers: CodecLayers, x: Value, name: str) -> Value:
    op = layers.graph.op
    with layers.graph.scope(name):
        x = op.Add(x, _self_attention(layers, layers.frame_norm(x, f"{name}.ln_1"), name))
        y = layers.frame_norm(x, f"{name}.ln_2")
        y = op.Relu(layers.frame_convolution(y, f"{name}.ffn.ffn_1"))
        return op.Add(x, layers.frame_linear(y, f"{name}.ffn.ffn_2"))


def _self_attention(layers: CodecLayers, x: Value, name: str) -> Value:
    """Attention of every frame to every frame, as `torch.nn.MultiheadAttention` computes it."""
    op, codec, heads = layers.graph.op, layers.codec, layers.codec.config.transformer_heads
    channels = codec.config.latent_channels
    head_channels = channels // heads
    packed = layers.graph.linear(
        x,
        codec.weight(f"{name}.self_attn.in_proj_weight"),
        codec.weight(f"{name}.self_attn.in_proj_bias"),
    )
    query, key, value = (
        op.Reshape(part, [1, -1, heads, head_channels])
        for part in op.Split(packed, num_outputs=3, axis=2, _outputs=3)
    )
    query = op.Mul(op.Transpose(query, perm=[0, 2, 1, 3]), head_channels**-0.5)  # (1, H, T, D)
    scores = op.MatMul(query, op.Transpose(key, perm=[0, 2, 3, 1]))  # (1, H, T, T)
    attended = op.MatMul(op.Softmax(scores, axis=3), op.Transpose(value, perm=[0, 2, 1, 3]))
    merged = op.Reshape(op.Transpose(attended, perm=[0, 2, 1, 3]), [1, -1, channels])
    return layers.frame_linear(merged, f"{name}.self_attn.out_proj")
