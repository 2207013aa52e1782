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

from export import build
from formats.tokens import TokenizedUtterance, find_streams, read_utterances, write_utterances
from runtime import TTS, Sampling
from tests.tiny_codec import OTHER_STREAMS, other_codec_config
from train import align, codec, lm, predict, prepare
from train.codec_model.checkpoint import load_codec
from train.language_model.checkpoint import LoadedModel, load_checkpoint, save_checkpoint
from train.language_model.generate import DecodingOptions, generate_frames
from train.language_model.mtp import MtpModel

HEADS = (1, 4, 8)
TEXT = "they know it"
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


def prompt_of(checkpoint: LoadedModel) -> list[int]:
    prompt = checkpoint.config.prompts.prompt(TEXT, with_speaker=True)
    ids = checkpoint.tokenizer.encode(prompt, add_special_tokens=False).ids
    return [checkpoint.tokens.bos, *ids]


def read_voice(voice: Path) -> torch.Tensor:
    return torch.from_numpy(load_file(voice)["speaker"])


def speak(checkpoint: LoadedModel, voice: Path, options: DecodingOptions) -> torch.Tensor:
    """Frames int64 [T, 4] that PyTorch decodes."""
    prompt, speaker = prompt_of(checkpoint), read_voice(voice)
    return generate_frames(checkpoint.model, prompt, speaker, options).frames


def voice_of(stages: Stages) -> Path:
    return stages.tokens / "speakers" / "0.safetensors"


@pytest.mark.parametrize("heads", HEADS)
def test_the_model_speaks(stages: Stages, heads: int) -> None:
    checkpoint, voice = load_checkpoint(stages.models[heads]), voice_of(stages)
    choices = [
        DecodingOptions(max_steps=40, do_sample=True, top_p=1.0, seed=seed) for seed in range(6)
    ]
    frames = torch.cat([speak(checkpoint, voice, options) for options in choices])
    assert len(frames) > 0
    assert frames.shape[1] == 4
    assert (frames < torch.tensor(OTHER_STREAMS.sizes)).all()
    decoder = load_codec(stages.codec)
    speaker = read_voice(voice)
    with torch.no_grad():
        audio = decoder.decode(frames[None], speaker[None])
    assert audio.shape == (1, 192 * len(frames))


@pytest.mark.filterwarnings("ignore::commands.errors.SpeechWarning")  # it mumbles
@pytest.mark.parametrize("dialect", ["ort", "portable", "basic"])
@pytest.mark.parametrize("heads", HEADS)
def test_the_engine_speaks_as_pytorch_does(
    stages: Stages, tmp_path: Path, heads: int, dialect: str
) -> None:
    voice = voice_of(stages)
    model = keep_speaking(stages.models[heads], voice, tmp_path / "model")
    arguments = ["--model", model, "--codec", stages.codec, "--voice", f"anna={voice}"]
    arguments += ["--dialect", dialect, "--output", tmp_path / "engine", "--no-compare"]
    assert build.main([str(argument) for argument in arguments]) == 0
    tts = TTS.load(tmp_path / "engine")
    assert tts.sample_rate == 12_000
    spoken = tts.synthesize(TEXT, sampling=Sampling(do_sample=False), max_steps=40)
    options = DecodingOptions(max_steps=40)
    expected = speak(load_checkpoint(model), voice, options).numpy()
    assert len(expected) == 40 * heads // 4
    np.testing.assert_array_equal(spoken.frames, expected)
    assert len(spoken.audio) == 192 * len(expected)
    frames, speaker = tts.encode(spoken.audio, 12_000)
    assert frames.shape == (len(expected), 4)
    assert speaker.shape == (40,)


@torch.no_grad()
def keep_speaking(folder: Path, voice: Path, output: Path) -> Path:
    """A copy of a model that does not end within a test: a few steps teach no length."""
    checkpoint = load_checkpoint(folder)
    model, tokens = checkpoint.model, checkpoint.tokens
    if isinstance(model, MtpModel):
        for index, head in enumerate(model.heads):
            head.projection.bias[tokens.end_code(index) :] -= 50.0
    else:  # `<eosp>` becomes the opposite of what the prompt leads to
        prompt = torch.tensor([prompt_of(checkpoint)])
        hidden = model.hidden_states(model.embed_text(prompt, read_voice(voice)[None]))
        model.embedding.weight[tokens.end] = -hidden[0, -1]
    save_checkpoint(model, checkpoint.tokenizer, output)
    return output


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
    assert "use tokens of one codec" in complaint({"data": {"train": both}})
    model = settings["model"]
    base = {"heads": 12, "base_model": str(stages.models[8])}
    assert "use tokens of one codec" in complaint({"model": base})
    initial = model | {"init_from_codec": str(stages.codec)}
    assert "must name the codec that made the tokens" in complaint({"model": initial})
    heads = {"model": model | {"heads": 6}, "data": {"train": both[1:]}}
    assert "'heads' must be 1 or a multiple of 4 up to 48, not 6" in complaint(heads)
