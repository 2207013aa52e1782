"""The native engine's codec against ONNX Runtime's.

In: a native bundle, and the codec's graphs. Out: `Check`s: audio, whole and in chunks, codes and
speaker of a sound. Chunks must give the same bits as the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from export.checks import limits
from export.checks.codec_checks import (
    CHUNK_SIZES,
    decode,
    example_audio,
    example_frames,
    example_speaker,
)
from export.checks.differences import relative_difference, relative_noise
from export.checks.native_engine import NativeEngine
from export.graph.runner import GraphRunner
from formats.checkpoint.codec_config import CodecConfig
from runtime.bundle.manifest import Check, GraphSpec
from runtime.bundle.names import AUDIO, CODEC_DECODER, CODEC_ENCODER, CODEC_FRAMES, SPEAKER

AUDIO_FRAMES = (1, 40)
ENCODED_HOPS = (0, 13.5, 80)  # added to the shortest recording; need not be whole


def compare_codec(
    engine: NativeEngine, folder: Path, graphs: Mapping[str, GraphSpec], config: CodecConfig
) -> list[Check]:
    """All comparisons. The caller compares figures with limits."""
    decoder = GraphRunner(folder, graphs[CODEC_DECODER])
    encoder = GraphRunner(folder, graphs[CODEC_ENCODER])
    return [
        *_compare_audio(engine, decoder, config),
        *_compare_encoders(engine, encoder, config),
    ]


def _compare_audio(
    engine: NativeEngine, decoder: GraphRunner, config: CodecConfig
) -> Iterator[Check]:
    native, speaker = engine.open_decoder(), example_speaker(config)
    precision = native.spec.precision
    for length in AUDIO_FRAMES:
        frames = example_frames(config, length)
        expected = decode(decoder, config, frames, speaker)
        whole = decode(native, config, frames, speaker)
        name = f"codec_decoder = ONNX Runtime, {length} frames"
        if precision == "fp32":
            yield Check(name, relative_difference(whole, expected), limits.NATIVE_AUDIO)
        else:
            noise = limits.NATIVE_AUDIO_NOISE[precision]
            yield Check(f"{name}: noise", relative_noise(whole, expected), noise)
        chunks = decode(native, config, frames, speaker, CHUNK_SIZES)
        name = f"codec_decoder: samples of chunks unlike the whole, {length} frames"
        yield Check(name, float(np.sum(chunks != whole)), 0.0)


def _compare_encoders(
    engine: NativeEngine, encoder: GraphRunner, config: CodecConfig
) -> Iterator[Check]:
    for hops in ENCODED_HOPS:
        samples = config.mel.least_samples + int(hops * config.hop_samples)
        audio = example_audio(config, samples)
        expected, found = encoder.run({AUDIO: audio}), engine.encode(audio)
        codes, wanted = found[CODEC_FRAMES], expected[CODEC_FRAMES]
        apart = float(np.mean(codes != wanted)) if codes.shape == wanted.shape else 1.0
        name = f"codec_encoder: codes unlike ONNX Runtime's, {samples} samples"
        yield Check(name, apart, limits.NATIVE_ENCODED_CODES)
        difference = float(np.abs(found[SPEAKER] - expected[SPEAKER]).max())
        name = f"codec_encoder: speaker = ONNX Runtime, {samples} samples"
        yield Check(name, difference, limits.ENCODED_SPEAKER)
