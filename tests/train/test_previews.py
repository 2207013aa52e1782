"""Pictures and audio of evaluations, as TensorBoard reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from commands.errors import UserError
from formats.checkpoint.codec_config import MelConfig
from formats.streams import FACODEC
from tests.tiny_codec import make_codec_checkpoint
from tests.train.test_lm_training import run, write_settings
from train.data.examples import Example
from train.language_model_training.guided_attention import AttentionProbe
from train.language_model_training.previews import SpokenPreview, attention_pictures
from train.language_model_training.settings import SpeechPreview, read_settings


def test_attention_and_speech_of_each_evaluation(tmp_path: Path) -> None:
    codec = make_codec_checkpoint(
        tmp_path / "codec",
        decoder_ratios=(5, 5, 4, 2),  # 80 frames a second
        encoder_ratios=(2, 4, 5, 5),
        decoder_channels=16,
        encoder_channels=2,
        mel=MelConfig(bins=11),
    )
    voice = tmp_path / "anna.safetensors"
    save_file({"speaker": torch.randn(256)}, voice)
    preview = {"codec": str(codec), "voice": str(voice), "seconds": 0.2, "utterances": 2}
    more: dict[str, Any] = {
        "guided_attention": {"layers": [1, 0], "heads": 2},
        "speech_preview": preview,
        "max_steps": 2,
        "evaluate_every": 1,
        "average_decay": 0.9,
    }
    phonemes = {"prompts": {"tts": "{text}<sosp>", "tail": ""}}
    run(write_settings(tmp_path, 3, phonemes, **more), tmp_path / "out")
    (log,) = (tmp_path / "out").rglob("events.*")
    events = EventAccumulator(str(log)).Reload()
    names = [f"attention/layer {layer}, head {head}" for layer in (0, 1) for head in (0, 1)]
    assert sorted(events.Tags()["images"]) == names
    assert [image.step for image in events.Images(names[0])] == [1, 2]
    assert events.Tags()["audio"] == ["speech/0", "speech/1"]
    audio = events.Audio("speech/0")[-1]
    assert (audio.step, audio.sample_rate) == (2, 16_000)
    assert audio.encoded_audio_string.startswith(b"RIFF")


def test_a_codec_of_other_streams_is_refused(tmp_path: Path) -> None:
    codec = make_codec_checkpoint(tmp_path / "codec", stream_sizes=(48, 20, 33))
    settings = SpeechPreview(str(codec))
    with pytest.raises(UserError, match="name the codec that made the tokens"):
        SpokenPreview(settings, {}, FACODEC)


def test_pictures_show_steps_against_the_text() -> None:
    mask = np.array([False] * 5 + [True] * 3 + [False])
    example = Example(np.zeros((9, 3), np.int32), mask, mask)
    probe = AttentionProbe((4,), 1)
    probabilities = torch.zeros(1, 1, 9, 9)
    probabilities[0, 0, 4, 1] = 0.25  # the first step is predicted where the text ends
    probabilities[0, 0, 6, 3] = 1.0
    probe.probabilities.append(probabilities)
    ((name, picture),) = attention_pictures(probe, example)
    assert name == "layer 4, head 0"
    assert picture.shape == (3 * 4, 5 * 4)
    assert (picture[1, 5], picture[9, 13], picture.sum()) == (0.5, 1.0, 16 * 1.5)


@pytest.mark.parametrize(
    ("preview", "message"),
    [
        ({"codec": "codec"}, "'voice' is missing"),
        ({"codec": "codec", "voice": "v", "seconds": 0}, "must be above 0"),
    ],
)
def test_previews_that_cannot_be(tmp_path: Path, preview: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_settings(write_settings(tmp_path, 3, speech_preview=preview))
