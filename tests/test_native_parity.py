"""The native engine against ONNX Runtime: the same frames in fp32, and the same sound.

Tiny models of every kind of head take the path that users take: text, tokens, steps, codec. Where
the native engine promises the same bits, bits are compared: in company and alone, in chunks and
whole, with one thread and with two.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from calibration.language_model import LanguageModel
from calibration.methods.quantize import Recipe as CalibrationRecipe
from calibration.pipeline import CalibrationOptions, Data, calibrate
from export.sources import SourceFolders, open_sources
from formats.number_formats import FormatName
from formats.precisions import CacheFormat
from runtime import TTS, Sampling
from runtime.bundle.loading import load_bundle
from runtime.engines.graph import BindableGraph, States
from runtime.engines.native.graphs import open_native_graph
from runtime.engines.native.model import NativeModel
from runtime.engines.native.sequences import Sequence
from runtime.engines.rows import Request
from runtime.speech.codec import DecoderStream
from runtime.speech.schedule import ChunkSchedule
from tests.calibration.recorded import write_tokens
from tests.export.lm_exports import Recipe, random_speaker, tiny_checkpoint
from tests.native_pairs import Pair, export_pair
from tests.random_rows import random_requests, speak_alone, speak_together
from tests.speech_like import speak
from tests.tiny_codec import (
    OTHER_STREAMS,
    TINY_STREAMS,
    make_codec_checkpoint,
    make_other_codec_checkpoint,
)
from tests.tolerances import limit

pytestmark = pytest.mark.usefixtures("native_library")

TEXT = "They know it."
TEXTS = (TEXT, "No.", "Is the door open at night? Yes, it is.", "We read the letter twice.")
MAX_STEPS = 40
ROWS, STEPS = 16, 200
MODELS = [
    Recipe(heads=3, streams=TINY_STREAMS),
    Recipe(heads=12, head_kind="mlp", speaker_aware=True, streams=TINY_STREAMS),
    Recipe(heads=6, head_kind="transformer", speaker_aware=True, streams=TINY_STREAMS),
    Recipe(heads=6, dtype="float16", streams=TINY_STREAMS),
    Recipe(heads=3, end_bias=1.5, streams=TINY_STREAMS),
    Recipe(heads=12, pad_bias=2.0, streams=TINY_STREAMS),
    Recipe(heads=1, likely_end=4.0, streams=TINY_STREAMS),
    Recipe(plain=True, streams=TINY_STREAMS),
]
OTHER = Recipe(heads=8, streams=OTHER_STREAMS)
Load = Callable[[Recipe], Pair]


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_codec_checkpoint(tmp_path_factory.mktemp("codec"))


@pytest.fixture(scope="module")
def other_codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_other_codec_checkpoint(tmp_path_factory.mktemp("other_codec"))


@pytest.fixture(scope="module")
def load(codec: Path, other_codec: Path, tmp_path_factory: pytest.TempPathFactory) -> Load:
    @functools.cache
    def load_once(recipe: Recipe) -> Pair:
        folder = tmp_path_factory.mktemp("pair")
        chosen = other_codec if recipe.streams == OTHER_STREAMS else codec
        return export_pair(tiny_checkpoint(recipe), chosen, folder)

    return load_once


def voice_of(tts: TTS) -> np.ndarray:
    return random_speaker()[: tts.bundle.manifest.codec.speaker_channels]


@pytest.mark.parametrize("recipe", [*MODELS, OTHER], ids=str)
def test_greedy_frames_and_sound_are_those_of_onnx_runtime(load: Load, recipe: Recipe) -> None:
    pair = load(recipe)
    for penalty in (1.0, 1.2):
        sampling = Sampling(do_sample=False, repetition_penalty=penalty)
        ours, theirs = (
            tts.synthesize(TEXT, voice=voice_of(tts), sampling=sampling, max_steps=MAX_STEPS)
            for tts in (pair.native, pair.reference)
        )
        assert len(ours.frames) > 1
        np.testing.assert_array_equal(ours.frames, theirs.frames)
        assert ours.finished == theirs.finished
        assert ours.audio.shape == theirs.audio.shape
        error = np.abs(ours.audio - theirs.audio).max() / np.abs(theirs.audio).max()
        assert error <= limit("codec_decoder", "fp32", "native")


@pytest.mark.parametrize("recipe", MODELS, ids=str)
def test_a_seed_draws_the_same_frames_as_in_onnx_runtime(load: Load, recipe: Recipe) -> None:
    """An utterance differs from the first code on whose noise falls between the engines' sums."""
    pair = load(recipe)
    differing, codes = 0, 0
    for seed, text in enumerate(TEXTS * 3):
        sampling = Sampling(
            seed=seed, temperature=0.6 + 0.1 * seed, top_k=45 - 3 * seed, repetition_penalty=1.1
        )
        ours, theirs = (
            tts.synthesize(text, voice=voice_of(tts), sampling=sampling, max_steps=MAX_STEPS).frames
            for tts in (pair.native, pair.reference)
        )
        differing += ours.shape != theirs.shape or bool((ours != theirs).any())
        codes += ours.size
    assert differing / codes <= limit("drawn codes", "fp32", "native")


@pytest.mark.parametrize("heads", [3, 6, 12])
def test_the_demo_voices_say_the_same(heads: int, tmp_path: Path) -> None:
    pair = export_pair(None, None, tmp_path, heads=heads)
    for sampling in (Sampling(do_sample=False), Sampling(seed=heads)):
        ours, theirs = (
            tts.synthesize(TEXTS[2], sampling=sampling) for tts in (pair.native, pair.reference)
        )
        assert ours.finished
        assert theirs.finished
        np.testing.assert_array_equal(ours.frames, theirs.frames)
        error = np.abs(ours.audio - theirs.audio).max() / np.abs(theirs.audio).max()
        assert error <= limit("codec_decoder", "fp32", "native")


@pytest.mark.parametrize("chunk_frames", [1, 7, 20])
def test_streamed_equals_whole_to_the_bit(load: Load, chunk_frames: int) -> None:
    tts = load(MODELS[3]).native
    arguments: dict[str, Any] = {
        "voice": voice_of(tts),
        "sampling": Sampling(seed=1),
        "max_steps": MAX_STEPS,
    }
    whole = tts.synthesize(TEXT, **arguments)
    schedule = ChunkSchedule(chunk_frames, 1.0, chunk_frames)
    chunks = list(tts.stream(TEXT, schedule=schedule, **arguments))
    assert len(chunks) > 1
    assert all(len(c.audio) == len(c.frames) * tts.codec.spec.hop_samples for c in chunks)
    np.testing.assert_array_equal(np.concatenate([c.frames for c in chunks]), whole.frames)
    np.testing.assert_array_equal(np.concatenate([c.audio for c in chunks]), whole.audio)


@pytest.mark.parametrize("recipe", MODELS, ids=str)
def test_rows_equal_their_solo_runs(load: Load, recipe: Recipe) -> None:
    tts = load(recipe).native
    requests = random_requests(tts, 300, seed=1)
    together = speak_together(tts.decoder, requests, ROWS, STEPS, seed=1)
    assert sum(spoken.steps for spoken in together) > 4 * STEPS, "few steps had company"
    for asked, found in zip(requests, together, strict=True):
        if found.steps:
            assert found == speak_alone(tts.decoder, asked, found.steps)


@pytest.mark.parametrize("recipe", [MODELS[1], MODELS[2], MODELS[6], OTHER], ids=str)
def test_more_threads_give_the_same_bits(load: Load, recipe: Recipe) -> None:
    alone = load(recipe).native
    shared = TTS.load(alone.bundle.folder, threads=2)
    assert "2 threads" in shared.describe()
    for seed, text in enumerate(TEXTS):
        one, two = (
            tts.synthesize(text, voice=voice_of(tts), sampling=Sampling(seed=seed))
            for tts in (alone, shared)
        )
        np.testing.assert_array_equal(one.frames, two.frames)
        np.testing.assert_array_equal(one.audio, two.audio)


@pytest.mark.parametrize("recipe", [MODELS[1], OTHER], ids=str)
def test_recordings_are_encoded_alike(load: Load, recipe: Recipe) -> None:
    pair = load(recipe)
    rate = pair.native.sample_rate
    noise = np.random.default_rng(0).standard_normal(5_003).astype(np.float32)
    for audio in (0.3 * noise, np.pad(0.1 * speak(), rate)):
        ours, theirs = (tts.encode(audio, rate) for tts in (pair.native, pair.reference))
        assert ours[0].shape == theirs[0].shape
        assert (ours[0] == theirs[0]).mean() >= 0.999
        np.testing.assert_allclose(ours[1], theirs[1], atol=1e-4)


@pytest.mark.parametrize("chunk_frames", [1, 2, 9])
@pytest.mark.parametrize("recipe", [MODELS[0], OTHER], ids=str)
def test_speech_of_several_utterances_at_once_is_that_of_each(
    load: Load, recipe: Recipe, chunk_frames: int
) -> None:
    tts = load(recipe).native
    random = np.random.default_rng(5)
    frames = [
        random.integers(0, tts.codec.spec.streams, (n, len(tts.codec.spec.streams)))
        for n in (31, 57, 4)
    ]
    voices = [random_speaker(i)[: tts.codec.spec.speaker_channels] for i in range(3)]
    alone = [tts.decode(*one) for one in zip(frames, voices, strict=True)]
    schedule = ChunkSchedule(chunk_frames, 1.0, chunk_frames)
    streams = [DecoderStream(tts.codec, voice, schedule) for voice in voices]
    audio: list[list[np.ndarray]] = [[], [], []]
    for at in range(0, 57, 5):
        for stream, one in zip(streams, frames, strict=True):
            stream.add(one[at : at + 5])
        tts.codec.start_due(streams)
        for heard, stream in zip(audio, streams, strict=True):
            heard += [chunk.audio for chunk in stream.ready()]
    for heard, stream, whole in zip(audio, streams, alone, strict=True):
        heard += [chunk.audio for chunk in stream.finish()]
        np.testing.assert_array_equal(np.concatenate(heard), whole)


# Few bits.


FewBits = Callable[[Recipe, FormatName, CacheFormat], Pair]


@pytest.fixture(scope="module")
def load_few_bits(codec: Path, tmp_path_factory: pytest.TempPathFactory) -> FewBits:
    @functools.cache
    def load_once(recipe: Recipe, precision: FormatName, cache: CacheFormat) -> Pair:
        folder = tmp_path_factory.mktemp("few")
        tokens = write_tokens(folder, recipe.heads, utterances=8, frames=19)
        model = tiny_checkpoint(recipe)
        options = CalibrationOptions(
            CalibrationRecipe(precision), Data(tokens=tokens), folder / "scales"
        )
        save_file({"speaker": random_speaker()}, folder / "anna.safetensors")
        sources = open_sources(SourceFolders(model, codec, {"anna": folder / "anna.safetensors"}))
        calibrate(LanguageModel(sources), options)
        return export_pair(model, codec, folder, precision, folder / "scales", cache=cache)

    return load_once


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("recipe", [MODELS[0], MODELS[1], MODELS[2]], ids=str)
def test_few_bits_are_those_of_onnx_runtime(
    load_few_bits: FewBits, recipe: Recipe, precision: FormatName
) -> None:
    """With caches in float32: hidden states, and the codes that are drawn from them.

    Where sums differ in their last bit, a code of an input may round otherwise, and then the whole
    prompt differs. That happens to few short prompts.
    """
    pair = load_few_bits(recipe, precision, "fp32")
    model = NativeModel(load_bundle(pair.native.bundle.folder), 1)
    random = np.random.default_rng(1)
    errors, differing, count = [], 0, 0
    for _ in range(20):
        prompt = random.standard_normal((1, 5, 64)).astype(np.float32)
        expected = hidden_in_onnx_runtime(pair.reference, prompt)
        error = np.abs(read_hidden(model, prompt) - expected).max() / np.abs(expected).max()
        errors.append(error)
        if error <= limit("backbone", precision, "native"):
            ours, theirs = (first_codes(tts, prompt) for tts in (pair.native, pair.reference))
            differing, count = differing + int((ours != theirs).sum()), count + ours.size
    assert np.median(errors) <= limit("backbone", precision, "native")
    assert count >= 10 * recipe.heads
    assert differing / count <= limit("codes", precision, "native")


def first_codes(tts: TTS, prompt: np.ndarray) -> np.ndarray:
    """What is drawn after a prompt, greedily."""
    settings = Sampling(do_sample=False).resolve(tts.bundle.manifest.sampling)
    request = Request(prompt, settings, np.random.default_rng(0), max_steps=1)
    return next(tts.decoder.steps(request)).frames


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("cache", ["fp16", "int8"])
def test_a_cache_in_fewer_bits_costs_little(
    load: Load, load_few_bits: FewBits, precision: FormatName, cache: CacheFormat
) -> None:
    """Few bits differ from fp32 about as much as in ONNX Runtime, whose cache is float32."""
    pair, exact = load_few_bits(MODELS[0], precision, cache), load(MODELS[0])
    model = NativeModel(load_bundle(pair.native.bundle.folder), 1)
    random = np.random.default_rng(1)
    ours, theirs = [], []
    for _ in range(20):
        prompt = random.standard_normal((1, 23, 64)).astype(np.float32)
        expected = hidden_in_onnx_runtime(exact.reference, prompt)
        ours.append(read_hidden(model, prompt) - expected)
        theirs.append(hidden_in_onnx_runtime(pair.reference, prompt) - expected)
    assert np.std(ours) <= 1.1 * np.std(theirs)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_rows_of_few_bits_equal_their_solo_runs(
    load_few_bits: FewBits, precision: FormatName
) -> None:
    tts = load_few_bits(MODELS[2], precision, "int8").native
    requests = random_requests(tts, 100, seed=2)
    together = speak_together(tts.decoder, requests, ROWS, 60, seed=2)
    for asked, found in zip(requests, together, strict=True):
        if found.steps:
            assert found == speak_alone(tts.decoder, asked, found.steps)


def test_bf16_sounds_like_fp32(codec: Path, tmp_path: Path) -> None:
    pair = export_pair(tiny_checkpoint(MODELS[0]), codec, tmp_path, "bf16")
    step = Sampling(do_sample=False)
    frames = [
        np.concatenate(
            [
                tts.synthesize(t, voice=random_speaker(), sampling=step, max_steps=1).frames
                for t in TEXTS
            ]
        )
        for tts in (pair.native, pair.reference)
    ]
    assert (frames[0] != frames[1]).mean() <= limit("codes", "bf16", "native")


def test_hidden_states_are_those_of_onnx_runtime(load: Load) -> None:
    """Through the library itself: Python's loops never see them."""
    pair = load(MODELS[0])
    model = NativeModel(load_bundle(pair.native.bundle.folder), 1)
    assert open_native_graph(model, "backbone", None).spec.outputs[0].name == "hidden"
    prompt = np.random.default_rng(1).standard_normal((1, 41, 64)).astype(np.float32)
    ours = read_hidden(model, prompt)
    theirs = hidden_in_onnx_runtime(pair.reference, prompt)
    assert np.abs(ours - theirs).max() / np.abs(theirs).max() <= limit("backbone", "fp32", "native")


def read_hidden(model: NativeModel, prompt: np.ndarray) -> np.ndarray:
    sequence = Sequence(model, 64)
    sequence.read(prompt[:, :3])
    sequence.read(prompt[:, 3:])
    return sequence.hidden()


def hidden_in_onnx_runtime(tts: TTS, prompt: np.ndarray) -> np.ndarray:
    graph = tts.backbone
    assert isinstance(graph, BindableGraph)
    hidden = np.zeros_like(prompt)
    tensors = {"inputs_embeds": prompt, "past_length": np.zeros(1, np.int64), "hidden": hidden}
    graph.bind(tensors, tensors, States(graph.spec, {"capacity": 64})).run(0)
    return hidden[0, -1]
