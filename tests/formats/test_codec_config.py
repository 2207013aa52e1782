"""codec.json: strict reading, and what follows from the sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from commands.errors import UserError
from formats.checkpoint.codec_config import (
    PUBLISHED_FILES,
    CodecConfig,
    build_codec_config,
    find_codec_config,
    read_codec_config,
)
from formats.streams import FACODEC, Streams
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
    assert config.streams == FACODEC


def test_streams_follow_from_the_codebooks() -> None:
    config = CodecConfig(codebook_size=32, content_codebooks=3, prosody_codebooks=2)
    assert config.streams == Streams((32,) * 5, 80.0)
    sizes = (48, 20, 33, 17)
    config = CodecConfig(content_codebooks=3, stream_sizes=sizes, sample_rate_hz=22_050)
    assert config.streams == Streams(sizes, 110.25)
    assert (config.content_sizes, config.prosody_sizes) == ((48, 20, 33), (17,))


def test_a_folder_without_codec_json_is_as_published(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no codec"):
        find_codec_config(tmp_path)
    for name in PUBLISHED_FILES.values():
        (tmp_path / name).touch()
    assert find_codec_config(tmp_path) == CodecConfig()
    config = CodecConfig(stream_sizes=(7, 5, 3))
    (tmp_path / "codec.json").write_text(config.to_json())
    assert find_codec_config(tmp_path) == config


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
        ({"stream_sizes": [48, 20]}, "'stream_sizes' must hold one size for each"),
        ({"stream_sizes": [48, 20, 0]}, "a stream has 1 to 65536 codes"),
        ({"codebook_size": 65537}, "a stream has 1 to 65536 codes"),
        ({"content_codebooks": 0}, "at least 1"),
        ({"prosody_codebooks": 16}, "1 to 16 streams"),
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
