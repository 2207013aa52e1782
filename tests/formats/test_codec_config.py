"""codec.json: strict reading, and what follows from the sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from commands.errors import UserError
from formats.checkpoint.codec_config import CodecConfig, build_codec_config, read_codec_config
from train.codec_training.config import read_training_config

TRAINING_YAML = """\
recordings: audio
output: codec
tokenizer: {steps: 2, batch: 2, crop_frames: 16, learning_rate: 1.0e-3, final_learning_rate: 1.0e-4}
decoder: {steps: 3, batch: 2, crop_frames: 12, learning_rate: 1.0e-3, final_learning_rate: 1.0e-4}
"""


def test_the_default_is_the_published_size() -> None:
    config = CodecConfig()
    assert (config.hop_samples, config.frames_per_second) == (200, 80.0)
    assert config.speaker_channels == 256


def test_json_round_trip(tmp_path: Path) -> None:
    config = CodecConfig(activation="snake", decoder_channels=64, residual_codebooks=0)
    (tmp_path / "codec.json").write_text(config.to_json())
    assert read_codec_config(tmp_path) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"activaton": "snake"}, "unknown key 'activaton'; did you mean 'activation'"),
        ({"activation": "relu"}, "one of .*alias_free"),
        ({"decoder_channels": "big"}, "of type int"),
        ({"decoder_channels": True}, "of type int"),
        ({"decoder_channels": 1000}, "divisible by two"),
        ({"decoder_channels": 0}, "at least 1"),
        ({"decoder_ratios": [5, 5]}, "same product"),
        ({"decoder_ratios": 5}, "must be a list"),
        ({"mel": {"bin": 80}}, "'mel': unknown key 'bin'; did you mean 'bins'"),
        ({"mel": {"window_samples": 2000}}, "window_samples"),
        ({"mel": {"highest_hz": 9000}}, "highest_hz"),
        ({"prosody_bins": 81}, "prosody_bins"),
        ({"latent_channels": 30}, "latent_channels"),
        ([], "object of keys"),
    ],
)
def test_bad_sizes_are_refused(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^here.*{message}"):
        build_codec_config(values, "here")


@pytest.mark.parametrize("content", ["", "{", "[1]", "[" * 100_000])
def test_files_that_are_no_config_are_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "codec.json").write_text(content)
    with pytest.raises(UserError, match=r"codec\.json"):
        read_codec_config(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"codec\.json: not found"):
        read_codec_config(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("output: codec\n", "", "'output' is missing"),
        ("batch: 2, crop_frames: 16", "batch: 3, crop_frames: 16", "must be even"),
        ("steps: 2", "step: 2", "did you mean 'steps'"),
        ("steps: 3", "steps: 0", "at least 1"),
        ("output: codec", "output: codec\nthreads: 0", "'threads' must be at least 1"),
        ("output: codec", "output: [", "not valid YAML"),
    ],
)
def test_training_yaml_is_strict(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "codec.yaml"
    path.write_text(TRAINING_YAML)
    assert read_training_config(path).decoder.steps == 3
    path.write_text(TRAINING_YAML.replace(old, new))
    with pytest.raises(UserError, match=message):
        read_training_config(path)
