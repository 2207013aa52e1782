"""The codec's decoder as a graph: frames and a speaker in, audio out.

In: a `CodecCheckpoint`. Out: a `ModelGraph` that takes utterances in chunks of any size, one
utterance a row. Its states carry what its layers still need of earlier chunks. Audio comes
`delay_frames` frames late, because samples depend on that many later frames. The joined chunks
equal the audio of the whole utterance decoded at once. The model is FACodec (NaturalSpeech 3, arXiv
2403.03100) without residual codes.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from commands.errors import UserError
from export.codec.layers import LAYER_NORM_EPSILON, CodecLayers
from export.codec.stream import Signal, StreamLayers
from export.graph.dialects import new_graph
from export.graph.model_graph import ModelGraph
from export.graph.precisions import FLOAT32, GraphNumbers, Precision, WeightFormats
from export.graph.writer import Value
from export.quantization.convolutions import ALL_FLOATS, ConvolutionFormats
from export.readers.codec_checkpoint import CodecCheckpoint
from export.readers.codec_tensors import codebook_sizes
from formats.checkpoint.codec_config import CodecConfig
from formats.weights import Array, Weight
from runtime.bundle.manifest import Range
from runtime.bundle.names import (
    AUDIO,
    CHUNK,
    CODEC_DECODER,
    CODEC_FRAMES,
    DELAY_FACT,
    FRAMES,
    HOP_FACT,
    MAX_CALL_FRAMES,
    PAST_FRAMES,
    ROWS,
    SAMPLE_RATE_FACT,
    SAMPLES,
    SPEAKER,
    UTTERANCE_FRAMES,
    WHOLE,
)

CHUNK_FRAMES = Range(1, 20, 160)
WHOLE_FRAMES = Range(1, MAX_CALL_FRAMES, MAX_CALL_FRAMES)


def build_codec_decoder(
    codec: CodecCheckpoint,
    dialect: str,
    precision: Precision = "fp32",
    activation: str = "operators",
    formats: ConvolutionFormats = ALL_FLOATS,
) -> ModelGraph:
    """Frames (rows, frames, K) and speaker (rows, channels) -> delayed audio (rows, frames · hop).

    formats: of convolutions. Everything else is computed in float32 at every precision.

    Raises:
        UserError: activation "plugin" for a codec without alias-free activations, or in a dialect
            that TensorRT does not read.
    """
    config = codec.config
    check_activation(config, dialect, activation)
    graph = new_graph(CODEC_DECODER, GraphNumbers(dialect, precision, WeightFormats(FLOAT32)))
    frames = graph.input(CODEC_FRAMES, "int64", (ROWS, FRAMES, config.streams.count))
    speaker = graph.input(SPEAKER, "float32", (ROWS, config.speaker_channels))
    past_frames = graph.input(PAST_FRAMES, "int64", (ROWS,))
    utterance_frames = graph.input(UTTERANCE_FRAMES, "int64", (ROWS,))
    x = _embed_frames(graph, codec, frames)  # (rows, T, C)
    x = _apply_timbre(graph, codec, x, speaker)
    layers = CodecLayers(graph, codec, formats)
    count = graph.op.Shape(frames, start=1, end=2)
    stream = StreamLayers(layers, past_frames, utterance_frames, count, activation)
    latents = Signal(layers.as_map(x), config.latent_channels, rate=1, delay=0)
    audio = _convolution_stack(stream, config, latents)  # (rows, 1, 1, samples)
    audio = stream.delayed(audio, config.delay_frames * config.hop_samples - audio.delay)
    graph.output(AUDIO, graph.op.Squeeze(audio.value, [1, 2]), "float32", (ROWS, SAMPLES))
    graph.profile(CHUNK, frames=CHUNK_FRAMES)
    graph.profile(WHOLE, frames=WHOLE_FRAMES)
    graph.fact(SAMPLE_RATE_FACT, config.sample_rate_hz)
    graph.fact(HOP_FACT, config.hop_samples)
    graph.fact(DELAY_FACT, config.delay_frames)
    return graph


def check_activation(config: CodecConfig, dialect: str, activation: str) -> None:
    """Raise `UserError` for a plugin that TensorRT would not take, or with nothing to replace."""
    if activation == "operators":
        return
    if dialect != "portable":
        raise UserError(
            "--codec-activation plugin needs the portable dialect (TensorRT 10.15 or newer), not "
            f"{dialect}: add --dialect portable, or leave the option out"
        )
    if config.activation != "alias_free":
        raise UserError(
            "--codec-activation plugin: this codec's activations are plain, so a plugin has "
            "nothing to replace; leave the option out"
        )


def codebook_vectors(codec: CodecCheckpoint, book: str) -> Weight:
    """What each code adds to a latent: out_proj(codebook), (codes, C)."""
    shape = (codebook_sizes(codec.config)[book], codec.config.latent_channels)
    return Weight(f"{book}.vectors", shape, lambda: _project_codebook(codec, book))


def _project_codebook(codec: CodecCheckpoint, book: str) -> Array:
    codes, weight, bias = (
        codec.vector(f"{book}.{name}").astype(np.float64)
        for name in ("_codebook.weight", "out_proj.weight", "out_proj.bias")
    )
    return (codes @ weight.T + bias).astype(np.float32)


def _embed_frames(graph: ModelGraph, codec: CodecCheckpoint, frames: Value) -> Value:
    """The sum of the vectors of a frame's codes: (rows, T, C)."""
    op, books = graph.op, codebook_sizes(codec.config)
    count = len(books)
    columns = op.Split(frames, num_outputs=count, axis=2, _outputs=count)  # each (rows, T, 1)
    vectors = [
        op.Gather(graph.weight(codebook_vectors(codec, book)), op.Squeeze(column, [2]))
        for book, column in zip(books, columns, strict=True)
    ]
    return reduce(op.Add, vectors)


def _apply_timbre(graph: ModelGraph, codec: CodecCheckpoint, x: Value, speaker: Value) -> Value:
    """LayerNorm over channels, then scale and shift by the speaker."""
    name, channels = "decoder.timbre_linear", codec.config.latent_channels
    unit = graph.constant(np.ones(channels, np.float32), "timbre_norm.unit")
    x = graph.op.LayerNormalization(x, unit, axis=-1, epsilon=LAYER_NORM_EPSILON)
    weight, bias = (codec.weight(f"{name}.{kind}") for kind in ("weight", "bias"))
    style = graph.linear(graph.op.Unsqueeze(speaker, [1]), weight, bias, exact=True)
    scale, shift = graph.op.Split(style, num_outputs=2, axis=2, _outputs=2)
    return graph.op.Add(graph.op.Mul(x, scale), shift)


def _convolution_stack(stream: StreamLayers, config: CodecConfig, x: Signal) -> Signal:
    """(rows, C, 1, T) -> (rows, 1, 1, T · hop) in (-1, 1)."""
    x = stream.convolution(x, "decoder.model.0")
    for stage, ratio in enumerate(config.decoder_ratios, start=1):
        name = f"decoder.model.{stage}.block"
        x = stream.activation(x, f"{name}.0")
        x = stream.upsampling(x, f"{name}.1", ratio)
        x = stream.residual_units(x, name, first=2)
    stages = len(config.decoder_ratios)
    x = stream.activation(x, f"decoder.model.{stages + 1}")
    return stream.tanh(stream.convolution(x, f"decoder.model.{stages + 2}"))
