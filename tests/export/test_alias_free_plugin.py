"""Decoders whose activations are single nodes decode as PyTorch does, by the nodes' definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from commands.errors import UserError
from export.checks.codec_checks import decode, example_frames, example_speaker
from export.checks.differences import relative_difference
from export.codec.alias_free_plugin import DOMAIN, NAME
from export.codec.decoder import build_codec_decoder
from export.graph.runner import GraphRunner
from export.readers.codec_checkpoint import open_codec
from runtime.bundle.names import AUDIO, CODEC_FRAMES, PAST_FRAMES, SPEAKER, UTTERANCE_FRAMES
from tests.tiny_codec import make_codec_checkpoint
from tests.tolerances import limit
from train.codec_model.checkpoint import load_codec


@pytest.mark.parametrize("frames", [1, 83])
@pytest.mark.parametrize("sizes", [(), (1, 7, 20)])
def test_audio_is_pytorchs(tmp_path: Path, frames: int, sizes: tuple[int, ...]) -> None:
    make_codec_checkpoint(tmp_path)
    graph = build_codec_decoder(open_codec(tmp_path), "portable", activation="plugin")
    decoder, model = GraphRunner(tmp_path, graph.save(tmp_path)), load_codec(tmp_path)
    codes, speaker = example_frames(model.config, frames), example_speaker(model.config)
    with torch.inference_mode():
        expected = model.decode(torch.from_numpy(codes), torch.from_numpy(speaker)).numpy()
    audio = decode(decoder, model.config, codes, speaker, sizes)
    assert relative_difference(audio, expected) <= limit("codec_decoder", "fp32", "portable")


def test_rows_are_activated_within_their_own_ends(tmp_path: Path) -> None:
    """Two utterances of different lengths in one call equal each alone."""
    make_codec_checkpoint(tmp_path)
    graph = build_codec_decoder(open_codec(tmp_path), "portable", activation="plugin")
    spec = graph.save(tmp_path)
    alone, together = GraphRunner(tmp_path, spec), GraphRunner(tmp_path, spec, rows=2)
    config = open_codec(tmp_path).config
    frames = [example_frames(config, 60, seed) for seed in (1, 2)]
    speakers = [example_speaker(config, seed) for seed in (3, 4)]
    lengths = [np.array([9]), np.array([40])]
    inputs = [
        {CODEC_FRAMES: f, SPEAKER: s, UTTERANCE_FRAMES: n, PAST_FRAMES: np.zeros(1, np.int64)}
        for f, s, n in zip(frames, speakers, lengths, strict=True)
    ]
    both = together.run({k: np.concatenate([one[k] for one in inputs]) for k in inputs[0]})[AUDIO]
    for row, one in enumerate(inputs):
        alone.reset()
        expected = alone.run(one)[AUDIO]
        end = (int(lengths[row][0]) + config.delay_frames) * config.hop_samples
        difference = relative_difference(both[row, :end], expected[0, :end])
        assert difference <= limit("codec_decoder", "fp32", "portable")


def test_every_activation_is_one_node_and_the_file_defines_it_once(tmp_path: Path) -> None:
    codec = open_codec(make_codec_checkpoint(tmp_path))
    spec = build_codec_decoder(codec, "portable", activation="plugin").save(tmp_path)
    model = onnx.load(tmp_path / spec.file)
    onnx.checker.check_model(model)
    assert [(one.domain, one.name) for one in model.functions] == [(DOMAIN, NAME)]
    operators = [node.op_type for node in model.graph.node]
    assert operators.count(NAME) == 2 * (1 + 3 * 2) + 1  # two stages, and the end
    assert "Sin" not in operators


@pytest.mark.parametrize(
    ("dialect", "activation", "reason"),
    [
        ("ort", "alias_free", "--dialect portable"),
        ("basic", "alias_free", "TensorRT 10.15 or newer.*, not basic: .* leave the option out"),
        ("portable", "snake", "nothing to replace"),
    ],
)
def test_refused_where_it_cannot_work(
    tmp_path: Path, dialect: str, activation: str, reason: str
) -> None:
    codec = open_codec(make_codec_checkpoint(tmp_path, activation=activation))
    with pytest.raises(UserError, match=reason):
        build_codec_decoder(codec, dialect, activation="plugin")
