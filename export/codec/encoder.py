"""The codec's encoder as a graph: audio in, frames and a speaker embedding out.

In: a `CodecCheckpoint`. Out: a `ModelGraph` without state. Each call takes one whole recording,
because the prosody and timbre encoders attend to all of it. The model is FACodec (NaturalSpeech 3,
arXiv 2403.03100).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from export.codec.decoder import codebook_vectors
from export.codec.layers import CodecLayers
from export.codec.log_mel import log_mel
from export.codec.transformer import transformer_encoder
from export.graph.dialects import new_graph
from export.graph.model_graph import ModelGraph
from export.graph.precisions import GraphNumbers
from export.graph.writer import Value
from export.readers.codec_checkpoint import CodecCheckpoint
from export.readers.codec_tensors import (
    MEL_UNITS,
    PROSODY_ENCODER,
    TIMBRE_ENCODER,
    content_books,
    prosody_books,
)
from formats.weights import Array, Weight
from runtime.audio.sound import MAX_SECONDS, MIN_SECONDS
from runtime.bundle.manifest import Precision, Range
from runtime.bundle.names import (
    AUDIO,
    CODEC_ENCODER,
    CODEC_FRAMES,
    FRAMES,
    HOP_FACT,
    SAMPLE_RATE_FACT,
    SAMPLES,
    SPEAKER,
    WHOLE,
)

USUAL_SECONDS = 5.0  # of a recording that a voice is taken from
_SMALLEST_NORM = 1e-12


def build_codec_encoder(
    codec: CodecCheckpoint, dialect: str, precision: Precision = "fp32"
) -> ModelGraph:
    """Audio (1, samples) -> frames (1, frames, K) and speaker (1, channels).

    `samples` must be at least half the mel analysis's n_fft, because the audio is padded by
    reflection.
    """
    config = codec.config
    graph = new_graph(CODEC_ENCODER, GraphNumbers(dialect, precision))
    layers = CodecLayers(graph, codec)
    audio = graph.input(AUDIO, "float32", (1, SAMPLES))
    spectrum = log_mel(graph, codec, audio)  # (1, T', bins)
    if config.content_encoder == "mel":
        latents = _mel_encoder(layers, spectrum)  # (1, T, C)
    else:
        latents = _waveform_encoder(layers, audio)
    prosody = _prosody_latents(layers, spectrum, latents)
    content = _codes(graph, codec, latents, content_books(config))
    codes = [*content, *_codes(graph, codec, prosody, prosody_books(config))]
    frames = graph.op.Concat(*codes, axis=2)
    timbre = transformer_encoder(layers, latents, TIMBRE_ENCODER)
    speaker = graph.op.ReduceMean(timbre, [1], keepdims=0)
    graph.output(CODEC_FRAMES, frames, "int64", (1, FRAMES, config.streams.count))
    graph.output(SPEAKER, speaker, "float32", (1, config.speaker_channels))
    seconds = (MIN_SECONDS, USUAL_SECONDS, MAX_SECONDS)
    graph.profile(WHOLE, samples=Range(*(round(s * config.sample_rate_hz) for s in seconds)))
    graph.fact(SAMPLE_RATE_FACT, config.sample_rate_hz)
    graph.fact(HOP_FACT, config.hop_samples)
    return graph


def _waveform_encoder(layers: CodecLayers, audio: Value) -> Value:
    """Audio (1, samples) -> latents (1, T, C)."""
    op, ratios = layers.graph.op, layers.codec.config.encoder_ratios
    x = layers.convolution(op.Unsqueeze(audio, [1, 2]), "encoder.block.0")
    for stage, ratio in enumerate(ratios, start=1):
        name = f"encoder.block.{stage}.block"
        x = layers.residual_units(x, name, first=0)
        x = layers.activation(x, f"{name}.3")
        x = layers.convolution(x, f"{name}.4", stride=ratio, padding=ratio // 2 + ratio % 2)
    x = layers.activation(x, f"encoder.block.{len(ratios) + 1}")
    return layers.as_frames(layers.convolution(x, f"encoder.block.{len(ratios) + 2}"))


def _mel_encoder(layers: CodecLayers, spectrum: Value) -> Value:
    """Log-mel (1, T, bins) -> latents (1, T, C)."""
    graph = layers.graph
    x = layers.frame_convolution(spectrum, "encoder.block.0")
    for unit in range(1, MEL_UNITS + 1):
        name = f"encoder.block.{unit}"
        y = layers.frame_norm(x, f"{name}.norm")
        y = graph.silu(layers.frame_convolution(y, f"{name}.expand"))
        x = graph.op.Add(x, layers.frame_convolution(y, f"{name}.project"))
    return layers.frame_convolution(x, f"encoder.block.{MEL_UNITS + 1}")


def _prosody_latents(layers: CodecLayers, spectrum: Value, latents: Value) -> Value:
    """The lowest mel bins, zero-padded to as many frames as the latents: (1, T, C)."""
    graph, op = layers.graph, layers.graph.op
    low = op.Slice(spectrum, [0], [layers.codec.config.prosody_bins], [2])
    missing = op.Sub(op.Shape(latents, start=1, end=2), op.Shape(low, start=1, end=2))
    none = graph.constant(np.zeros(1, np.int64), "none")
    low = op.Pad(low, op.Concat(none, none, none, none, missing, none, axis=0))
    return transformer_encoder(
        layers, layers.frame_linear(low, "decoder.melspec_linear"), PROSODY_ENCODER
    )


def _codes(
    graph: ModelGraph, codec: CodecCheckpoint, latents: Value, books: Sequence[str]
) -> list[Value]:
    """Codes of all books, each (1, T, 1). A book quantizes what the books before it left over."""
    codes = [_nearest(graph, codec, latents, books[0])]
    for before, book in pairwise(books):
        vectors = graph.weight(codebook_vectors(codec, before))
        explained = graph.op.Gather(vectors, graph.op.Squeeze(codes[-1], [2]))
        latents = graph.op.Sub(latents, explained)
        codes.append(_nearest(graph, codec, latents, book))
    return codes


def _nearest(graph: ModelGraph, codec: CodecCheckpoint, latents: Value, book: str) -> Value:
    """The codebook entry of the smallest angle, int64 (1, T, 1).

    The published code also normalises the latents, which does not change which entry is nearest.
    """
    name = f"{book}.in_proj"
    projected = graph.linear(latents, codec.weight(f"{name}.weight"), codec.weight(f"{name}.bias"))
    scores = graph.linear(projected, directions(codec.weight(f"{book}._codebook.weight")))
    return graph.op.ArgMax(scores, axis=2, keepdims=1)


def directions(codebook: Weight) -> Weight:
    """Codebook entries (codes, channels) scaled to length 1."""

    def read() -> Array:
        entries = codebook.read().astype(np.float64)
        lengths = np.linalg.norm(entries, axis=1, keepdims=True)
        return (entries / np.maximum(lengths, _SMALLEST_NORM)).astype(np.float32)

    return Weight(f"{codebook.name}.directions", codebook.shape, read)
