"""Checks of the codec's graphs that need no reference model.

In: a folder with saved graphs and the codec's config. Out: `Check`s of shapes, of finite numbers,
and of joined chunks, which must equal the whole. The graphs run in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Protocol

import numpy as np

from export.checks import limits
from export.checks.differences import relative_difference, relative_noise
from export.graph.precisions import QUANTIZED
from export.graph.runner import GraphRunner
from formats.checkpoint.codec_config import CodecConfig
from formats.weights import Array
from runtime.bundle.manifest import Check, GraphSpec
from runtime.bundle.names import (
    AUDIO,
    CODEC_DECODER,
    CODEC_ENCODER,
    CODEC_FRAMES,
    PAST_FRAMES,
    SPEAKER,
    UNKNOWN_FRAMES,
    UTTERANCE_FRAMES,
)

CHUNK_SIZES = (1, 7, 20)
CHUNKED = limits.CHUNKED_AUDIO, limits.CHUNKED_AUDIO_NOISE


def check_codec(folder: Path, graphs: Mapping[str, GraphSpec], config: CodecConfig) -> list[Check]:
    """Run both codec graphs of an export."""
    decoder = GraphRunner(folder, graphs[CODEC_DECODER])
    encoder = GraphRunner(folder, graphs[CODEC_ENCODER])
    return [*_check_decoder(decoder, config), *_check_encoder(encoder, config)]


def example_frames(config: CodecConfig, frames: int, seed: int = 0) -> Array:
    """Random codes int64 (1, frames, K)."""
    streams = config.streams
    return np.random.default_rng(seed).integers(0, streams.sizes, (1, frames, streams.count))


def example_speaker(config: CodecConfig, seed: int = 1) -> Array:
    """A random speaker embedding float32 (1, channels)."""
    values = np.random.default_rng(seed).standard_normal((1, config.speaker_channels))
    return values.astype(np.float32)


def example_audio(config: CodecConfig, samples: int) -> Array:
    """A sound like a voice, float32 (1, samples): a gliding buzz that swells, and noise."""
    seconds = np.arange(samples) / config.sample_rate_hz
    phase = 2 * np.pi * (120 * seconds + 30 * np.sin(2 * np.pi * seconds))
    buzz = sum(np.sin(k * phase) / k for k in range(1, 20))
    swell = 0.2 + np.sin(2 * np.pi * 3 * seconds) ** 2
    noise = np.random.default_rng(2).standard_normal(samples)
    return (0.1 * swell * buzz + 0.005 * noise).astype(np.float32)[None]


class Decoder(Protocol):
    """A codec's decoder: a `GraphRunner`, or an engine that is called in the same way."""

    def reset(self) -> None:
        """Begin another utterance."""

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """The next call."""


def decode(
    decoder: Decoder,
    config: CodecConfig,
    frames: Array,
    speaker: Array,
    sizes: Sequence[int] = (),
) -> Array:
    """Audio float32 (1, samples) of a whole utterance.

    sizes: frames of each call, used in turn and repeated; one call by default. As in the runtime,
    `delay_frames` frames of any codes follow the last one, and the audio before the first frame's
    is dropped.
    """
    decoder.reset()
    count, delay = frames.shape[1], config.delay_frames
    given = np.pad(frames, [(0, 0), (0, delay), (0, 0)])
    audio: list[Array] = []
    start = 0
    for size in cycle(sizes or [count + delay]):
        end = min(start + size, count + delay)
        inputs = {
            CODEC_FRAMES: given[:, start:end],
            SPEAKER: speaker,
            PAST_FRAMES: np.array([start]),
            UTTERANCE_FRAMES: np.array([count if end >= count else UNKNOWN_FRAMES]),
        }
        audio.append(decoder.run(inputs)[AUDIO])
        start = end
        if start == count + delay:
            break
    return np.concatenate(audio, axis=1)[:, delay * config.hop_samples :]


def audio_check(
    name: str, decoder: GraphRunner, measured: Array, expected: Array, allowed: tuple[float, float]
) -> Check:
    """The largest difference between two audios or, in few bits, the noise.

    allowed: the limits of difference and of noise.
    """
    if decoder.spec.precision in QUANTIZED:
        return Check(f"{name}: noise", relative_noise(measured, expected), allowed[1])
    return Check(name, relative_difference(measured, expected), allowed[0])


def _check_decoder(decoder: GraphRunner, config: CodecConfig) -> list[Check]:
    frames = example_frames(config, config.delay_frames + max(CHUNK_SIZES))
    speaker = example_speaker(config)
    whole = decode(decoder, config, frames, speaker)
    samples = frames.shape[1] * config.hop_samples
    checks = [
        Check("codec_decoder: samples missing", abs(samples - whole.shape[1]), 0),
        Check("codec_decoder: values that are not finite", _not_finite(whole), 0),
    ]
    for size in CHUNK_SIZES:
        joined = decode(decoder, config, frames, speaker, [size])
        name = f"codec_decoder: chunks of {size} against whole"
        checks.append(audio_check(name, decoder, joined, whole, CHUNKED))
    return checks


def _check_encoder(encoder: GraphRunner, config: CodecConfig) -> list[Check]:
    frames = 2 + config.mel.n_fft // config.hop_samples
    outputs = encoder.run({AUDIO: example_audio(config, frames * config.hop_samples)})
    codes, speaker = outputs[CODEC_FRAMES], outputs[SPEAKER]
    strange = (codes < 0) | (codes >= np.array(config.streams.sizes))
    return [
        Check("codec_encoder: frames missing", abs(frames - codes.shape[1]), 0),
        Check("codec_encoder: codes out of range", int(strange.sum()), 0),
        Check("codec_encoder: values that are not finite", _not_finite(speaker), 0),
    ]


def _not_finite(values: Array) -> int:
    return int((~np.isfinite(values)).sum())
