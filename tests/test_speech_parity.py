"""From checkpoint to speech: `runtime.TTS` on an exported bundle against PyTorch.

Frames must be equal code by code, audio within a tolerance, through the very path that users
take: prompt template, tokenizer, embedding table, step loop, codec. All kinds of heads against
PyTorch, graph by graph, are in tests/export.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.bundle.manifest import describe_bundle
from export.bundle.tables import TOKENIZER_FILE, write_embeddings
from export.bundle.writer import bundle_folder, publish_bundle
from export.codec.decoder import build_codec_decoder
from export.codec.encoder import build_codec_encoder
from export.readers.codec_checkpoint import open_codec
from runtime import TTS, Sampling
from runtime.audio.conditioning import condition_speech
from runtime.audio.sound import convert_sound
from runtime.speech.schedule import ChunkSchedule
from tests.export.lm_exports import MOST_ROWS, Export, Recipe, random_speaker, tiny_export
from tests.speech_like import speak
from tests.tiny_codec import make_codec_checkpoint, tiny_codec_config
from tests.tiny_weights import make_codec
from train.codec_model.facodec import FACodec
from train.language_model.generate import DecodingOptions, Generation, generate_frames

TEXT = "They know it."
MAX_STEPS = 40
POSITIONS = 1024  # room for the sentence in one utterance, one token a step
AUDIO_TOLERANCE = 1e-4  # of the peak; measured 3e-5: float32 sums in another order

MODELS = [
    Recipe(heads=3),
    Recipe(heads=12, head_kind="mlp", speaker_aware=True),
    Recipe(heads=6, head_kind="transformer", speaker_aware=True),
    Recipe(heads=6, dtype="float16"),
    Recipe(heads=3, end_bias=1.5),
    Recipe(heads=12, pad_bias=2.0),
    Recipe(heads=1, likely_end=4.0),
    Recipe(plain=True),
]


@dataclass(frozen=True)
class Voiced:
    """A loaded bundle and the models that it was made from."""

    tts: TTS
    export: Export
    codec: FACodec

    def reference(self, penalty: float) -> Generation:
        """What PyTorch says to the same text."""
        checkpoint = self.export.checkpoint
        prompts = checkpoint.config.prompts
        aware = checkpoint.config.spk_aware
        prompt = (prompts.tts_speaker if aware else prompts.tts).replace("{text}", TEXT)
        ids = checkpoint.tokenizer.encode(prompt, add_special_tokens=False).ids
        speaker = torch.from_numpy(random_speaker()) if aware else None
        options = DecodingOptions(repetition_penalty=penalty, max_steps=MAX_STEPS)
        return generate_frames(self.export.model, [checkpoint.tokens.bos, *ids], speaker, options)


Load = Callable[[Recipe, str], Voiced]


@pytest.fixture(scope="module")
def codec_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_codec_checkpoint(tmp_path_factory.mktemp("codec"))


@pytest.fixture(scope="module")
def load(codec_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Exports a recipe and loads the bundle, once for each recipe and dialect."""

    @functools.cache
    def load_once(recipe: Recipe, dialect: str) -> Voiced:
        export = tiny_export(recipe, dialect, positions=POSITIONS)
        engine = write_bundle(export, codec_folder, tmp_path_factory.mktemp("engine") / "engine")
        return Voiced(TTS.load(engine, threads=1), export, make_codec(tiny_codec_config()))

    return load_once


def write_bundle(export: Export, codec_folder: Path, output: Path) -> Path:
    """What `export.build` writes, without its checks."""
    codec = open_codec(codec_folder)
    graphs = dict(export.graphs)
    with bundle_folder(output) as folder:
        shutil.copytree(export.folder, folder, dirs_exist_ok=True)
        for build in (build_codec_decoder, build_codec_encoder):
            graph = build(codec, export.dialect)
            graphs[graph.name] = graph.save(folder)
        tokenizer = export.checkpoint.tokenizer.to_str()
        (folder / TOKENIZER_FILE).write_text(tokenizer, encoding="utf-8")
        write_embeddings(export.checkpoint, folder)
        manifest = describe_bundle(
            export.checkpoint,
            codec.config,
            export.dialect,
            graphs,
            voices={},
            checks=(),
            rows=MOST_ROWS,
        )
        publish_bundle(folder, manifest, output)
    return output


@pytest.mark.parametrize("dialect", ["ort", "portable", "basic"])
@pytest.mark.parametrize("recipe", MODELS, ids=str)
def test_greedy_frames_equal_pytorch(load: Load, recipe: Recipe, dialect: str) -> None:
    voiced = load(recipe, dialect)
    for penalty in (1.0, 1.2):
        speech = voiced.tts.synthesize(
            TEXT,
            voice=random_speaker(),
            sampling=Sampling(do_sample=False, repetition_penalty=penalty),
            max_steps=MAX_STEPS,
        )
        reference = voiced.reference(penalty)
        assert len(speech.frames) > 1
        np.testing.assert_array_equal(speech.frames, reference.frames.numpy())
        assert speech.finished == reference.finished


def test_audio_equals_pytorch(load: Load) -> None:
    voiced, speaker = load(MODELS[0], "ort"), random_speaker()
    speech = voiced.tts.synthesize(TEXT, voice=speaker, max_steps=MAX_STEPS)
    with torch.inference_mode():
        frames = torch.from_numpy(speech.frames)[None]
        expected = voiced.codec.decode(frames, torch.from_numpy(speaker)[None]).numpy().ravel()
    assert speech.audio.shape == expected.shape
    assert np.abs(speech.audio - expected).max() <= AUDIO_TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("chunk_frames", [1, 7, 30])
def test_streamed_equals_whole(load: Load, chunk_frames: int) -> None:
    tts = load(MODELS[3], "ort").tts
    arguments: dict[str, Any] = {
        "voice": random_speaker(),
        "sampling": Sampling(seed=1),
        "max_steps": MAX_STEPS,
    }
    whole = tts.synthesize(TEXT, **arguments)
    schedule = ChunkSchedule(chunk_frames, 1.0, chunk_frames)
    chunks = list(tts.stream(TEXT, schedule=schedule, **arguments))
    np.testing.assert_array_equal(np.concatenate([c.frames for c in chunks]), whole.frames)
    audio = np.concatenate([chunk.audio for chunk in chunks])
    assert np.abs(audio - whole.audio).max() <= 1e-5 * np.abs(whole.audio).max()


def test_encoding_equals_pytorch(load: Load) -> None:
    voiced = load(MODELS[0], "ort")
    audio = (0.3 * np.random.default_rng(0).standard_normal(5_003)).astype(np.float32)
    frames, speaker = voiced.tts.encode(audio, voiced.tts.sample_rate)
    with torch.inference_mode():
        expected_frames, expected_speaker = voiced.codec.encode(torch.from_numpy(audio)[None])
    assert frames.shape == expected_frames[0].shape
    assert (frames == expected_frames[0].numpy()).mean() >= 0.999
    np.testing.assert_allclose(speaker, expected_speaker[0].numpy(), atol=1e-4)


def test_speakers_equal_pytorch_on_the_speech(load: Load) -> None:
    """Frames are of the audio as it is, the speaker is that of its speech alone."""
    voiced = load(MODELS[0], "ort")
    audio = np.pad(0.1 * speak(), 16_000)
    frames, speaker = voiced.tts.encode(audio, voiced.tts.sample_rate)
    speech = condition_speech(convert_sound(audio, 16_000), 16_000)
    with torch.inference_mode():
        expected_frames, padded = voiced.codec.encode(torch.from_numpy(audio)[None])
        expected_speaker = voiced.codec.encode(torch.from_numpy(speech)[None])[1]
    assert (frames == expected_frames[0].numpy()).mean() >= 0.999
    np.testing.assert_allclose(speaker, expected_speaker[0].numpy(), atol=1e-4)
    assert np.abs(padded[0].numpy() - speaker).max() > 1e-3
