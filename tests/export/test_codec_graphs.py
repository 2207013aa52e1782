"""The codec's graphs against the PyTorch modules, in both dialects, for every kind of codec."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.codec_checkpoint import open_codec
from export.codec_checks import (
    decode,
    example_audio,
    example_frames,
    example_speaker,
    relative_difference,
)
from export.codec_decoder import build_codec_decoder
from export.codec_encoder import build_codec_encoder
from export.graph_runner import GraphRunner
from runtime.bundle import AUDIO, CODEC_FRAMES, SPEAKER
from tests.tiny_codec import make_codec_checkpoint
from tests.tolerances import limit
from train.codec_checkpoint import load_codec, save_codec
from train.codec_config import CodecConfig, MelConfig
from train.facodec import FACodec

DIALECTS = ("ort", "portable")
KINDS: dict[str, dict[str, Any]] = {
    "alias_free": {"activation": "alias_free"},
    "snake": {"activation": "snake"},
    "mel": {"activation": "snake", "content_encoder": "mel"},
    "three ratios": {
        "decoder_channels": 24,
        "decoder_ratios": (3, 2, 2),
        "encoder_ratios": (2, 3, 2),
    },
    "one residual book less": {"residual_codebooks": 0, "transformer_heads": 2},
}
PUBLISHED_RATES: dict[str, Any] = {
    "decoder_channels": 16,
    "decoder_ratios": (5, 5, 4, 2),
    "encoder_ratios": (2, 4, 5, 5),
    "mel": MelConfig(),
}
LAST_WEIGHT = "decoder.model.6.weight"

pytestmark = pytest.mark.parametrize("dialect", DIALECTS)


@functools.cache
def scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="codec-graphs-")


@functools.cache
def exported(kind: str, dialect: str) -> tuple[FACodec, GraphRunner, GraphRunner]:
    """(PyTorch model, decoder graph, encoder graph)."""
    folder = make_codec_checkpoint(Path(scratch().name) / f"{kind}-{dialect}", **KINDS[kind])
    codec = open_codec(folder)
    graphs = [build(codec, dialect) for build in (build_codec_decoder, build_codec_encoder)]
    decoder, encoder = (GraphRunner(folder, graph.save(folder)) for graph in graphs)
    return load_codec(folder), decoder, encoder


@pytest.mark.parametrize("frames", [1, 2, 17, 83])
@pytest.mark.parametrize("kind", KINDS)
def test_decoded_audio_is_pytorchs(kind: str, dialect: str, frames: int) -> None:
    model, decoder, _ = exported(kind, dialect)
    codes = example_frames(model.config, frames, seed=frames)
    speaker = example_speaker(model.config)
    with torch.inference_mode():
        expected = model.decode(torch.from_numpy(codes), torch.from_numpy(speaker)).numpy()
    audio = decode(decoder, codes, speaker)
    assert audio.shape == (1, frames * model.config.hop_samples)
    assert relative_difference(audio, expected) <= limit("codec_decoder", "fp32", dialect)


@pytest.mark.parametrize("extra_samples", [0, 1, 5, 333, 2001])
@pytest.mark.parametrize("kind", KINDS)
def test_encoded_frames_and_speaker_are_pytorchs(
    kind: str, dialect: str, extra_samples: int
) -> None:
    model, _, encoder = exported(kind, dialect)
    audio = example_audio(model.config, model.config.mel.least_samples + extra_samples)
    with torch.inference_mode():
        codes, speaker = (tensor.numpy() for tensor in model.encode(torch.from_numpy(audio)))
    outputs = encoder.run({AUDIO: audio})
    np.testing.assert_array_equal(outputs[CODEC_FRAMES], codes)
    difference = relative_difference(outputs[SPEAKER], speaker)
    assert difference <= limit("codec_encoder", "fp32", dialect)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_and_speakers_differ_between_recordings(kind: str, dialect: str) -> None:
    """Parity means something only if the outputs depend on the inputs."""
    model, decoder, encoder = exported(kind, dialect)
    audio = example_audio(model.config, 3000)
    loud, reversed_ = (
        encoder.run({AUDIO: x}) for x in (audio, np.ascontiguousarray(audio[:, ::-1]))
    )
    assert (loud[CODEC_FRAMES] != reversed_[CODEC_FRAMES]).any(axis=(0, 1)).all()
    frames, speaker = example_frames(model.config, 9), example_speaker(model.config)
    other = example_speaker(model.config, seed=5)
    difference = relative_difference(
        decode(decoder, frames, speaker), decode(decoder, frames, other)
    )
    assert difference > 0.01


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("activation", ["alias_free", "snake"])
def test_the_receptive_field_is_exact(
    tmp_path: Path, dialect: str, activation: str, side: str
) -> None:
    """Chunks with the receptive field as context equal the whole; one frame less does not do.

    The rates are those of the published codec: 28 frames on each side (14 without filters).
    """
    config, decoder = far_reaching_codec(tmp_path, dialect, activation, side)
    context = config.receptive_field_frames
    assert context == {"alias_free": 28, "snake": 14}[activation]
    frames = example_frames(config, 2 * context + 13)
    whole = decode(decoder, frames, example_speaker(config))
    for size in (5, 8):
        exact, short = (
            relative_difference(joined_chunks(decoder, config, frames, size, frames_around), whole)
            for frames_around in (context, context - 1)
        )
        assert exact <= 1e-5 < 1e-4 < short, size


def joined_chunks(
    decoder: GraphRunner, config: CodecConfig, frames: np.ndarray, size: int, context: int
) -> np.ndarray:
    """The utterance decoded in chunks of `size` frames with `context` frames on each side."""
    hop, chunks = config.hop_samples, []
    for start in range(0, frames.shape[1], size):
        end = min(start + size, frames.shape[1])
        low = max(0, start - context)
        window = decode(decoder, frames[:, low : end + context], example_speaker(config))
        chunks.append(window[:, (start - low) * hop : (end - low) * hop])
    return np.concatenate(chunks, axis=1)


def far_reaching_codec(
    folder: Path, dialect: str, activation: str, side: str
) -> tuple[CodecConfig, GraphRunner]:
    """A codec whose filters look only as far to one side as they can, so that what lies at the
    edge of the receptive field counts fully."""
    left = side == "left"
    make_codec_checkpoint(folder, activation=activation, **PUBLISHED_RATES)
    model = load_codec(folder)
    with torch.no_grad():
        for name, tensor in model.decoder.model.state_dict().items():
            if name.endswith("beta"):
                tensor.fill_(6.0)  # nearly linear
            elif name.endswith("upsample.filter"):
                tensor.zero_()
                tensor[..., 10 if left else 1] = 0.5
            elif name.endswith("lowpass.filter"):
                tensor.zero_()
                tensor[..., 0 if left else -1] = 1.0
            elif name.endswith("block.1.weight") and name.count("block") == 1:  # transposed
                tensor.fill_(1 / tensor.shape[0])
            elif tensor.ndim == 3:
                tensor.zero_()
                tensor[..., 0 if left else -1] = 1 / tensor.shape[1]
        parameters = dict(model.named_parameters())
        parameters[LAST_WEIGHT].mul_(1e-3)  # stay in the linear part of tanh
    save_codec(model, folder)
    graph = build_codec_decoder(open_codec(folder), dialect)
    return model.config, GraphRunner(folder, graph.save(folder))
