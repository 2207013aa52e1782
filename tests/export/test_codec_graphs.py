"""The codec's graphs against the PyTorch modules, in both dialects, for every kind of codec."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.checks.codec_checks import decode, example_audio, example_frames, example_speaker
from export.checks.differences import relative_difference
from export.codec.decoder import build_codec_decoder
from export.codec.encoder import build_codec_encoder
from export.graph.runner import GraphRunner
from export.readers.codec_checkpoint import open_codec
from formats.checkpoint.codec_config import CodecConfig, MelConfig
from runtime.bundle.names import (
    AUDIO,
    CODEC_FRAMES,
    PAST_FRAMES,
    ROWS,
    SPEAKER,
    UNKNOWN_FRAMES,
    UTTERANCE_FRAMES,
)
from tests.tiny_codec import make_codec_checkpoint
from tests.tolerances import limit
from train.codec_model.checkpoint import load_codec, save_codec
from train.codec_model.facodec import FACodec

DIALECTS = ("ort", "portable", "basic")
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
    "four streams": {"content_codebooks": 3, "stream_sizes": (48, 20, 33, 17)},
    "two prosody books": {
        "content_codebooks": 1,
        "prosody_codebooks": 2,
        "stream_sizes": (20, 48, 31),
    },
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
    audio = decode(decoder, model.config, codes, speaker)
    assert audio.shape == (1, frames * model.config.hop_samples)
    assert relative_difference(audio, expected) <= limit("codec_decoder", "fp32", dialect)


@settings(max_examples=12, deadline=None)  # the first example exports the codec
@given(
    frames=st.integers(1, 90),
    sizes=st.lists(st.integers(1, 45), min_size=1, max_size=6),
    seed=st.integers(0, 9),
)
@pytest.mark.parametrize("kind", ["alias_free", "snake", "three ratios"])
def test_chunks_join_to_pytorchs_audio(
    kind: str, dialect: str, frames: int, sizes: list[int], seed: int
) -> None:
    """However an utterance is cut up, and however short it is."""
    model, decoder, _ = exported(kind, dialect)
    codes, speaker = example_frames(model.config, frames, seed), example_speaker(model.config)
    with torch.inference_mode():
        expected = model.decode(torch.from_numpy(codes), torch.from_numpy(speaker)).numpy()
    audio = decode(decoder, model.config, codes, speaker, sizes)
    assert relative_difference(audio, expected) <= limit("codec_decoder", "fp32", dialect)


@pytest.mark.parametrize("kind", ["alias_free", "snake"])
def test_what_follows_the_last_frame_does_not_matter(kind: str, dialect: str) -> None:
    """The frames that push the last audio out may be any: they are not part of the utterance."""
    model, decoder, _ = exported(kind, dialect)
    delay, count = model.config.delay_frames, 5
    speaker, audio = example_speaker(model.config), []
    for seed in (1, 2):
        frames = example_frames(model.config, count + delay, seed)
        frames[:, :count] = 7
        inputs = {CODEC_FRAMES: frames, SPEAKER: speaker, PAST_FRAMES: np.array([0])}
        decoder.reset()
        outputs = decoder.run({**inputs, UTTERANCE_FRAMES: np.array([count])})
        audio.append(outputs[AUDIO][:, delay * model.config.hop_samples :])
    assert audio[0].shape == (1, count * model.config.hop_samples)
    np.testing.assert_array_equal(audio[0], audio[1])


@pytest.mark.parametrize("kind", ["alias_free", "snake", "three ratios"])
def test_rows_equal_solo_runs(kind: str, dialect: str) -> None:
    """Rows of other speakers and lengths, which begin in different calls, in chunks of 7 frames."""
    model, solo, _ = exported(kind, dialect)
    config, chunk = model.config, 7
    lengths, begins = [1, 30, 11, 20], [2, 0, 1, 3]
    folder = Path(scratch().name) / f"{kind}-{dialect}"
    rows = GraphRunner(folder, solo.spec, rows=len(lengths))
    calls = 4 + max(begins) + -(-(max(lengths) + config.delay_frames) // chunk)
    frames = [example_frames(config, calls * chunk, seed) for seed in range(len(lengths))]
    speakers = [example_speaker(config, seed) for seed in range(len(lengths))]
    audio = []
    for call in range(calls):
        for row in (row for row, begin in enumerate(begins) if begin == call):
            solo.reset()
            rows.take_row(row, solo)
        past = np.array([max(0, call - begin) * chunk for begin in begins])
        given = [codes[:, at : at + chunk] for codes, at in zip(frames, past, strict=True)]
        known = np.array(lengths) <= past + chunk
        inputs = {
            CODEC_FRAMES: np.concatenate(given),
            SPEAKER: np.concatenate(speakers),
            PAST_FRAMES: past,
            UTTERANCE_FRAMES: np.where(known, lengths, UNKNOWN_FRAMES),
        }
        audio.append(rows.run(inputs)[AUDIO])
    joined = np.concatenate(audio, axis=1)
    for row, (length, begin) in enumerate(zip(lengths, begins, strict=True)):
        alone = decode(solo, config, frames[row][:, :length], speakers[row])
        start = (begin * chunk + config.delay_frames) * config.hop_samples
        together = joined[row : row + 1, start : start + alone.shape[1]]
        assert relative_difference(together, alone) <= limit("codec_decoder", "fp32", dialect)


def test_all_shapes_but_the_chunks_are_numbers(dialect: str, tmp_path: Path) -> None:
    codec = open_codec(make_codec_checkpoint(tmp_path))
    spec = build_codec_decoder(codec, dialect).spec("codec_decoder.onnx", None)
    named = {
        tensor.name: tensor.shape
        for tensor in (*spec.inputs, *spec.outputs)
        if any(isinstance(size, str) for size in tensor.shape[1:])
    }
    assert {tensor.shape[0] for tensor in (*spec.inputs, *spec.outputs)} == {ROWS}
    assert named == {CODEC_FRAMES: (ROWS, "frames", 3), AUDIO: (ROWS, "samples")}
    assert len(spec.states) > 20


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
        decode(decoder, model.config, frames, speaker),
        decode(decoder, model.config, frames, other),
    )
    assert difference > 0.01


@pytest.mark.parametrize("activation", ["alias_free", "snake"])
def test_the_delay_is_exact(tmp_path: Path, dialect: str, activation: str) -> None:
    """A frame's audio depends on the frame `delay_frames` behind it, so it cannot come earlier.

    The rates are those of the published codec: 28 frames (14 without filters).
    """
    config, decoder = far_reaching_codec(tmp_path, dialect, activation)
    delay, hop = config.delay_frames, config.hop_samples
    assert delay == {"alias_free": 28, "snake": 14}[activation]
    frames, speaker = example_frames(config, 2 * delay + 13), example_speaker(config)
    changed = frames.copy()
    changed[:, delay + 5] = (frames[:, delay + 5] + 1) % config.codebook_size
    one, other = (decode(decoder, config, codes, speaker) for codes in (frames, changed))
    touched = np.abs(one - other)[0] > 1e-4 * np.abs(one).max()
    assert int(touched.argmax()) // hop == 5
    assert relative_difference(decode(decoder, config, frames, speaker, [5, 8]), one) <= 1e-5


def far_reaching_codec(
    folder: Path, dialect: str, activation: str
) -> tuple[CodecConfig, GraphRunner]:
    """A codec whose filters look only ahead, as far as they can, so that what lies at the edge
    of the receptive field counts fully."""
    make_codec_checkpoint(folder, activation=activation, **PUBLISHED_RATES)
    model = load_codec(folder)
    with torch.no_grad():
        for name, tensor in model.decoder.model.state_dict().items():
            if name.endswith("beta"):
                tensor.fill_(6.0)  # nearly linear
            elif name.endswith("upsample.filter"):
                tensor.zero_()
                tensor[..., 1] = 0.5
            elif name.endswith("lowpass.filter"):
                tensor.zero_()
                tensor[..., -1] = 1.0
            elif name.endswith("block.1.weight") and name.count("block") == 1:  # transposed
                tensor.fill_(1 / tensor.shape[0])
            elif tensor.ndim == 3:
                tensor.zero_()
                tensor[..., -1] = 1 / tensor.shape[1]
        parameters = dict(model.named_parameters())
        parameters[LAST_WEIGHT].mul_(1e-3)  # stay in the linear part of tanh
    save_codec(model, folder)
    graph = build_codec_decoder(open_codec(folder), dialect)
    return model.config, GraphRunner(folder, graph.save(folder))
