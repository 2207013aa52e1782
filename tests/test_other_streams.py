"""A codec with other numbers than FACodec's, from its recordings to speech.

12 kHz, 62.5 frames a second, four streams of 48, 20, 33 and 17 codes. Each stage learns the numbers
from what an earlier stage wrote: the codec's `codec.json`, the token files, the model's
`config.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file

from formats.tokens import TokenizedUtterance, find_streams, read_utterances, write_utterances
from tests.tiny_codec import OTHER_STREAMS, other_codec_config
from train import align, codec, lm, predict, prepare
from train.codec_model.checkpoint import load_codec
from train.language_model.checkpoint import Checkpoint, load_checkpoint
from train.language_model.generate import DecodingOptions, generate_frames

HEADS = (1, 4, 8)
MODEL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "layers": 2,
    "attention_heads": 4,
    "key_value_heads": 2,
    "max_length": 512,
    "speaker_aware": True,
    "speaker_channels": 40,
}


class Stages(NamedTuple):
    """The folders that the stages leave; `models` by number of heads."""

    codec: Path
    tokens: Path
    models: dict[int, Path]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory, recordings: Path) -> Stages:
    """Everything from recordings to models, by the commands, in a few steps each."""
    folder = tmp_path_factory.mktemp("other")
    trained = train_codec(folder, recordings)
    tokens = tokenize(folder, recordings, trained)
    models = {heads: train_model(folder, tokens, trained, heads) for heads in HEADS}
    return Stages(trained, tokens, models)


def train_codec(folder: Path, recordings: Path) -> Path:
    rates = {"learning_rate": 1.0e-3, "final_learning_rate": 1.0e-4}
    phase = rates | {"steps": 3, "batch": 4, "crop_frames": 16}
    settings = {
        "recordings": str(recordings),
        "output": str(folder / "codec"),
        "codec": json.loads(other_codec_config().to_json()),
        "tokenizer": phase,
        "decoder": phase,
    }
    (folder / "codec.yaml").write_text(yaml.safe_dump(settings))
    assert codec.main(["--config", str(folder / "codec.yaml")]) == 0
    return folder / "codec"


def tokenize(folder: Path, recordings: Path, trained: Path) -> Path:
    """With durations, which are counted in frames of this codec."""
    of_codec, aligned = ("--codec", str(trained)), folder / "aligned"
    arguments = [str(recordings), "--output", str(aligned), "--method", "diagonal"]
    assert align.main([*arguments, *of_codec]) == 0
    arguments = [str(aligned / recordings.name), "--output", str(folder / "tokens")]
    heads = ["--heads", *map(str, HEADS)]
    assert prepare.main([*arguments, *of_codec, *heads, "--embeddings", "utterance"]) == 0
    return folder / "tokens"


def train_model(folder: Path, tokens: Path, trained: Path, heads: int) -> Path:
    source = {"file": str(token_file(tokens, heads))}
    settings = {
        "model": MODEL | {"heads": heads, "init_from_codec": str(trained)},
        "data": {"train": [source], "validation_examples": 1},
        "max_steps": 2,
        "evaluate_every": 1,
        "history_corruption": 0.5,
        "history_noise": "random" if heads == 1 else "predicted",
        "guided_attention": {"layers": [1]},
        "speech_preview": {"codec": str(trained), "seconds": 0.2},
    }
    (folder / f"lm{heads}.yaml").write_text(yaml.safe_dump(settings))
    output = folder / f"model{heads}"
    arguments = ["--config", str(folder / f"lm{heads}.yaml"), "--output", str(output)]
    assert lm.main(arguments) == 0
    return output


def token_file(tokens: Path, heads: int) -> Path:
    return tokens / ("ntp.jsonl" if heads == 1 else f"h{heads}.jsonl")


@pytest.mark.parametrize("heads", HEADS)
def test_tokens_are_those_of_the_codec(stages: Stages, heads: int) -> None:
    path = token_file(stages.tokens, heads)
    assert find_streams(path) == OTHER_STREAMS
    utterances = list(read_utterances(path, heads, OTHER_STREAMS))
    assert len(utterances) == 3
    for utterance in utterances:
        assert utterance.frames.shape == (len(utterance.frames), 4)
        assert (utterance.frames < OTHER_STREAMS.sizes).all()
        assert sum(utterance.symbol_frames or ()) == len(utterance.frames)
        assert 0.4 < utterance.seconds < 1.1


@pytest.mark.parametrize("heads", HEADS)
def test_the_model_declares_its_streams_and_its_length(stages: Stages, heads: int) -> None:
    written = json.loads((stages.models[heads] / "config.json").read_text())
    assert written["streams"] == {"sizes": [48, 20, 33, 17], "frames_per_second": 62.5}
    utterances = list(read_utterances(token_file(stages.tokens, heads), heads))
    pace = sum(len(u.frames) for u in utterances) / sum(len(u.text) for u in utterances)
    assert written["length"] == {"frames_per_token": round(4 * pace, 2), "extra_frames": 125}


def speak(checkpoint: Checkpoint, voice: Path) -> torch.Tensor:
    """Frames int64 [T, 4] that PyTorch decodes, with a few seeds: a model may end at once."""
    prompt = checkpoint.config.prompts.prompt("they know it", with_speaker=True)
    ids = checkpoint.tokenizer.encode(prompt, add_special_tokens=False).ids
    speaker = torch.from_numpy(load_file(voice)["speaker"])
    frames = []
    for seed in range(6):
        options = DecodingOptions(max_steps=40, do_sample=True, top_p=1.0, seed=seed)
        prompt_ids = [checkpoint.tokens.bos, *ids]
        frames.append(generate_frames(checkpoint.model, prompt_ids, speaker, options).frames)
    return torch.cat(frames)


@pytest.mark.parametrize("heads", HEADS)
def test_the_model_speaks(stages: Stages, heads: int) -> None:
    checkpoint = load_checkpoint(stages.models[heads])
    voice = next(stages.tokens.glob("speakers/*.safetensors"))
    frames = speak(checkpoint, voice)
    assert len(frames) > 0
    assert frames.shape[1] == 4
    assert (frames < torch.tensor(OTHER_STREAMS.sizes)).all()
    decoder = load_codec(stages.codec)
    speaker = torch.from_numpy(load_file(voice)["speaker"])
    with torch.no_grad():
        audio = decoder.decode(frames[None], speaker[None])
    assert audio.shape == (1, 192 * len(frames))


def test_models_predict_these_streams(stages: Stages, tmp_path: Path) -> None:
    tokens, output = token_file(stages.tokens, 8), tmp_path / "predicted.jsonl"
    arguments = ["--model", stages.models[8], "--tokens", tokens, "--output", output]
    assert predict.main([*map(str, arguments), "--speaker-folder", str(stages.tokens)]) == 0
    predicted = {u.uttid: u for u in read_utterances(output, 8, OTHER_STREAMS)}
    for utterance in read_utterances(tokens, 8):
        assert predicted[utterance.uttid].frames.shape == utterance.frames.shape


def test_tokens_of_different_codecs_do_not_mix(
    stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facodec = [TokenizedUtterance(f"u{n}", "Hi.", np.zeros((5, 3), np.int64)) for n in range(3)]
    write_utterances(tmp_path / "h12.jsonl", facodec, 12)
    source = {"file": str(tmp_path / "h12.jsonl")}
    settings: dict[str, Any] = {"data": {"train": [source], "validation_examples": 1}}
    settings |= {"max_steps": 1, "model": MODEL | {"heads": 12, "speaker_aware": False}}
    path = tmp_path / "lm.yaml"

    def complaint(change: dict[str, Any]) -> str:
        path.write_text(yaml.safe_dump(settings | change))
        assert lm.main(["--config", str(path), "--output", str(tmp_path / "out")]) == 2
        return capsys.readouterr().err

    both = [source, {"file": str(token_file(stages.tokens, 8))}]
    assert "use one codec" in complaint({"data": {"train": both}})
    model = settings["model"]
    base = {"heads": 12, "base_model": str(stages.models[8])}
    assert "use one codec" in complaint({"model": base})
    initial = model | {"init_from_codec": str(stages.codec)}
    assert "must name the codec that made the tokens" in complaint({"model": initial})
    heads = {"model": model | {"heads": 6}, "data": {"train": both[1:]}}
    assert "'heads' must be 1 or a multiple of 4 up to 48, not 6" in complaint(heads)
