"""From text to frames to audio: the loop, its endings, its bounds, and streaming."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands.errors import SpeechWarning, UserError
from runtime import TTS, Chunk, Sampling, Utterance
from runtime.bundle.loading import describe_file, load_bundle
from runtime.bundle.manifest import read_manifest
from runtime.engines.graph import ALL_ROWS, Array, BindableGraph, Call, Graph, States
from runtime.engines.onnxruntime.graphs import OnnxRuntimeGraph
from runtime.engines.opening import open_engine
from runtime.speech.codec import CodecDecoder, DecoderStream
from runtime.speech.schedule import ChunkSchedule
from runtime.speech.synthesis import SENTENCE_PAUSE_SECONDS
from tests.runtime.tiny_bundle import (
    HIDDEN_SIZE,
    HOP,
    MAX_POSITIONS,
    SPEAKER,
    SPEAKER_CHANNELS,
    Scenario,
    expected_frames,
    prompt_ids,
    rewrite_manifest,
    write_bundle,
)

GREEDY = Sampling(do_sample=False)
TEXT = "They know it."
PAUSE_SAMPLES = round(SENTENCE_PAUSE_SECONDS * 16_000)
SPEAKER_TEMPLATE = "say {text} like <|placeholder|> <sosp>"


def load(folder: Path, scenario: Scenario) -> TTS:
    return TTS.load(write_bundle(folder / "engine", scenario), threads=1)


def join(chunks: list[Chunk]) -> Utterance:
    return Utterance(
        np.concatenate([chunk.audio for chunk in chunks]),
        chunks[0].sample_rate,
        np.concatenate([chunk.frames for chunk in chunks]),
        all(chunk.finished for chunk in chunks),
    )


# The loop.

SCENARIOS = {
    "3 heads": Scenario(),
    "6 heads": Scenario(heads=6),
    "12 heads": Scenario(heads=12),
    "next token": Scenario(kind="ntp"),
    "next token, incomplete last frame": Scenario(kind="ntp", codes_a=range(50, 58)),
    "padded step": Scenario(heads=12, kept={3: 6, 7: 0}),
    "stops at once": Scenario(codes_a=()),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_frames_are_what_the_model_said(tmp_path: Path, name: str) -> None:
    scenario = SCENARIOS[name]
    speech = load(tmp_path, scenario).synthesize(TEXT, sampling=GREEDY)
    assert speech.frames.tolist() == expected_frames(TEXT, scenario)
    assert speech.frames.dtype == np.int64
    assert speech.frames.shape[1] == 3
    assert speech.audio.dtype == np.float32
    assert len(speech.audio) == len(speech.frames) * HOP
    assert speech.sample_rate == 16_000
    assert speech.finished


@pytest.mark.parametrize("name", ["6 heads", "next token", "padded step"])
@pytest.mark.parametrize("max_steps", [1, 2, 5])
def test_max_steps_cuts(tmp_path: Path, name: str, max_steps: int) -> None:
    tts = load(tmp_path, SCENARIOS[name])
    speech = tts.synthesize(TEXT, sampling=GREEDY, max_steps=max_steps)
    assert speech.frames.tolist() == expected_frames(TEXT, SCENARIOS[name], max_steps)
    assert not speech.finished
    assert not join(list(tts.stream(TEXT, sampling=GREEDY, max_steps=max_steps))).finished


def test_stopping_in_the_last_step_is_finished(tmp_path: Path) -> None:
    tts = load(tmp_path, Scenario())
    speech = tts.synthesize(TEXT, sampling=GREEDY, max_steps=13)  # 12 codes, then <eosp>
    assert speech.finished
    assert len(speech.frames) == 12


def test_a_model_that_never_stops_is_bounded_by_its_text(tmp_path: Path) -> None:
    tts = load(tmp_path, Scenario(codes_a=range(1_000), frames_per_token=4.0))
    speech = tts.synthesize("abc.", sampling=GREEDY)
    assert len(speech.frames) == 16 + 4 * 4  # extra_frames + frames_per_token * tokens
    assert not speech.finished


def test_a_model_that_never_stops_is_bounded_by_its_positions(tmp_path: Path) -> None:
    tts = load(tmp_path, Scenario(codes_a=range(1_000), frames_per_token=60.0))
    speech = tts.synthesize("abcdefg.", sampling=GREEDY)
    assert len(speech.frames) == MAX_POSITIONS - len(prompt_ids("abcdefg."))


def test_the_text_goes_into_the_prompt_as_given(tmp_path: Path) -> None:
    scenario = Scenario()
    tts = load(tmp_path, scenario)
    for text in ("  Two spaces \n", "{text}", "a{0}", "No stop"):
        speech = tts.synthesize(text, sampling=GREEDY)
        assert speech.frames.tolist() == expected_frames(text, scenario)


def test_settings_reach_the_head(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "engine"))
    recorded: dict[str, list[float]] = {}

    class Recorder(OnnxRuntimeGraph):
        def bind(
            self,
            inputs: Mapping[str, Array],
            outputs: Mapping[str, Array],
            states: States,
            rows: slice = ALL_ROWS,
        ) -> Call:
            recorded.update({name: array.ravel()[:1].tolist() for name, array in inputs.items()})
            return super().bind(inputs, outputs, states, rows)

    tts = TTS(bundle, lambda name: Recorder(bundle, name, 1), "test")
    tts.synthesize(TEXT, sampling=Sampling(temperature=0.5, top_k=5_000, repetition_penalty=1.25))
    assert recorded["temperature"] == [0.5]
    assert recorded["top_k"] == [1_026], "at most the entries of a head"
    assert recorded["top_p"] == pytest.approx([0.8])
    assert recorded["repetition_penalty"] == [1.25]


def test_seeds(tts: TTS) -> None:
    def frames(seed: int | None) -> list[list[int]]:
        return tts.synthesize("One. Two.", sampling=Sampling(seed=seed)).frames.tolist()

    assert frames(1) == frames(1)
    assert frames(1) != frames(2)
    assert frames(None) != frames(None)


def test_speaker_aware_models_read_the_speaker_in_the_prompt(tmp_path: Path) -> None:
    tts = load(tmp_path, Scenario(speaker_aware=True, template=SPEAKER_TEMPLATE))
    plain = Scenario(template=SPEAKER_TEMPLATE)
    expected = np.array(expected_frames(TEXT, plain))
    for mark in (30, 60):
        voice = SPEAKER.copy()
        voice[-1] = mark / 100
        speech = tts.synthesize(TEXT, voice=voice, sampling=GREEDY)
        marked = expected.copy()
        marked[0, 1] += mark  # the prompt's column 3, in the first step only
        assert speech.frames.tolist() == marked.tolist()
    with pytest.raises(UserError, match=r"2 speaker placeholders.*remove <\|placeholder\|>"):
        tts.synthesize("like <|placeholder|>")


# Long text.


def test_long_text_is_several_utterances(tts: TTS) -> None:
    speech = tts.synthesize("One. And two!\n\nThree", sampling=GREEDY)
    parts = [tts.synthesize(text, sampling=GREEDY) for text in ("One.", "And two!", "Three")]
    pause = np.zeros(PAUSE_SAMPLES, np.float32)
    audio = [parts[0].audio, pause, parts[1].audio, pause, parts[2].audio]
    np.testing.assert_array_equal(speech.audio, np.concatenate(audio))
    np.testing.assert_array_equal(speech.frames, np.concatenate([part.frames for part in parts]))


def test_one_cut_sentence_makes_the_whole_unfinished(tmp_path: Path) -> None:
    tts = load(tmp_path, Scenario(codes_a=range(30), frames_per_token=1.0))
    long, short = "abcdefghijklmnopqrstuvwxyz.", "abc."  # 16 + 27 steps and 16 + 4 steps
    assert tts.synthesize(long, sampling=GREEDY).finished
    assert not tts.synthesize(short, sampling=GREEDY).finished
    assert not tts.synthesize(f"{short} A{long}", sampling=GREEDY).finished
    schedule = ChunkSchedule(10, 2.0, 160)
    chunks = list(tts.stream(f"A{short} A{long}", sampling=GREEDY, schedule=schedule))
    unfinished = [index for index, chunk in enumerate(chunks) if not chunk.finished]
    assert len(unfinished) == 1, "only the chunk that ends the cut sentence says so"
    assert 0 < unfinished[0] < len(chunks) - 1


def test_a_sentence_that_is_too_long_is_cut_up(tmp_path: Path) -> None:
    tts = load(tmp_path, Scenario(frames_per_token=40.0))  # 10 expected frames a character
    sentence = "the rain fell softly, and the birds sang in the garden"
    pieces = tts.split(sentence)
    assert len(pieces) > 1
    assert " ".join(pieces) == sentence
    for piece in pieces:
        assert len(prompt_ids(piece)) + 10 * len(piece) <= MAX_POSITIONS
    frames = [tts.synthesize(piece, sampling=GREEDY).frames for piece in pieces]
    whole = tts.synthesize(sentence, sampling=GREEDY)
    np.testing.assert_array_equal(whole.frames, np.concatenate(frames))


def test_100_kilobytes_are_split_or_refused(tts: TTS) -> None:
    sentences = tts.split("Ab cd. " * 14_000)
    assert sentences == ["Ab cd."] * 14_000
    assert "".join(tts.split("x" * 100_000)) == "x" * 100_000
    with pytest.raises(UserError, match="limit is 100000"):
        tts.split("x" * 100_001)


# Streaming.


@settings(max_examples=30)
@given(first=st.integers(1, 30), growth=st.floats(1.0, 3.0), extra=st.integers(0, 20))
def test_chunks_join_to_the_whole(tts: TTS, first: int, growth: float, extra: int) -> None:
    text, sampling = "One. And two.", Sampling(seed=4)
    whole = tts.synthesize(text, sampling=sampling)
    schedule = ChunkSchedule(first, growth, first + extra)
    streamed = join(list(tts.stream(text, sampling=sampling, schedule=schedule)))
    np.testing.assert_array_equal(streamed.frames, whole.frames)
    assert np.abs(streamed.audio - whole.audio).max() <= 1e-5 * np.abs(whole.audio).max()
    assert streamed.finished == whole.finished


class CountingGraph:
    """A graph that counts its calls."""

    def __init__(self, graph: Graph, calls: list[str], name: str) -> None:
        assert isinstance(graph, BindableGraph)
        self.spec, self._graph, self._calls, self._name = graph.spec, graph, calls, name
        self.rows = graph.rows

    def bind(
        self,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        states: States,
        rows: slice = ALL_ROWS,
    ) -> Call:
        call, calls, name = self._graph.bind(inputs, outputs, states, rows), self._calls, self._name

        class CountingCall:
            def run(self, turn: int) -> None:
                calls.append(name)
                call.run(turn)

        return CountingCall()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self._calls.append(self._name)
        return self._graph.run(inputs)


def counted(folder: Path, calls: list[str]) -> TTS:
    bundle = load_bundle(folder)
    open_graph, engine = open_engine(bundle, "auto", 1)
    return TTS(bundle, lambda name: CountingGraph(open_graph(name), calls, name), engine)


def test_audio_comes_while_frames_are_still_being_generated(plain_folder: Path) -> None:
    calls: list[str] = []
    tts = counted(plain_folder, calls)
    chunks = tts.stream(TEXT, sampling=GREEDY, schedule=ChunkSchedule(2, 1.0, 2))
    first = next(chunks)
    assert len(first.frames) == 2
    assert calls.count("mtp_head") == 4, "two frames and the right context, no more"
    assert calls.count("codec_decoder") == 1
    next(chunks)
    assert calls.count("mtp_head") == 6
    list(chunks)
    assert calls.count("mtp_head") == 13


def test_closing_the_stream_ends_the_work(plain_folder: Path) -> None:
    calls: list[str] = []
    tts = counted(plain_folder, calls)
    chunks = tts.stream(f"{TEXT} {TEXT}", sampling=GREEDY, schedule=ChunkSchedule(1, 1.0, 1))
    next(chunks)
    done = len(calls)
    chunks.close()
    assert len(calls) == done
    assert next(chunks, None) is None


def test_two_streams_do_not_disturb_each_other(tts: TTS) -> None:
    schedule = ChunkSchedule(1, 1.0, 1)
    texts = ("One.", "Twenty two.")
    streams = [tts.stream(text, sampling=GREEDY, schedule=schedule) for text in texts]
    pairs = list(zip(*streams, strict=True))
    for text, chunks in zip(texts, zip(*pairs, strict=True), strict=True):
        whole = tts.synthesize(text, sampling=GREEDY)
        np.testing.assert_array_equal(join(list(chunks)).frames, whole.frames)


def test_mistakes_are_raised_before_the_first_chunk(tts: TTS) -> None:
    with pytest.raises(UserError, match="is empty"):
        tts.stream(" ")
    with pytest.raises(UserError, match="max_steps is 0"):
        tts.stream(TEXT, max_steps=0)
    with pytest.raises(UserError, match="no voice nobody"):
        tts.stream(TEXT, voice="nobody")


@pytest.mark.parametrize("sizes", [(0, 2.0, 10), (5, 2.0, 4), (1, 0.5, 2), (1, 1.0, 100_000)])
def test_impossible_schedules_are_refused(sizes: tuple[int, float, int]) -> None:
    with pytest.raises(UserError, match="a chunk schedule"):
        ChunkSchedule(*sizes)


# Codec.


@pytest.mark.parametrize("count", [0, 1, 5, 801, 1_700])
def test_decoding_gives_hop_samples_a_frame(tts: TTS, count: int) -> None:
    frames = np.random.default_rng(0).integers(0, 1024, (count, 3))
    audio = tts.decode(frames, SPEAKER)
    assert audio.dtype == np.float32
    assert audio.shape == (count * HOP,)
    if count == 1_700:  # several calls; frames far from a seam and beside it are as ever
        for at in (159, 160, 161, 1_200):
            near = tts.decode(frames[at - 10 : at + 10], SPEAKER)[10 * HOP : 11 * HOP]
            np.testing.assert_allclose(audio[at * HOP : (at + 1) * HOP], near, atol=1e-6)


def test_the_codec_is_never_given_more_than_it_takes(plain_folder: Path) -> None:
    """TensorRT builds engines for a largest number of frames."""
    frames = np.random.default_rng(0).integers(0, 1024, (1_700, 3))
    calls: list[str] = []
    tts = counted(plain_folder, calls)
    decoder = CodecDecoder(CountingGraph(tts.codec.graph, calls, "codec"), tts.codec.spec)
    stream = DecoderStream(decoder, SPEAKER, ChunkSchedule(800, 1.0, 800))
    stream.add(frames)
    chunks = [*stream.ready(), *stream.finish()]
    assert [len(chunk.frames) for chunk in chunks] == [800, 800, 100]
    assert calls.count("codec") == 3 + 2 + 1, "the first chunk needs the delay's frames, too"
    audio = np.concatenate([chunk.audio for chunk in chunks])
    np.testing.assert_allclose(audio, tts.decode(frames, SPEAKER), atol=1e-6)


@pytest.mark.parametrize(
    ("frames", "speaker", "complaint"),
    [
        (np.zeros((4, 2), int), SPEAKER, r"int64 \[4, 2\]"),
        (np.zeros((4, 3)), SPEAKER, "float64"),
        (np.full((4, 3), 1_024), SPEAKER, "outside 0 … 1023"),
        (np.full((4, 3), -1), SPEAKER, "outside 0 … 1023"),
        (np.zeros((4, 3), int), SPEAKER[:-1], rf"give floats \[{SPEAKER_CHANNELS}\]"),
        (np.zeros((4, 3), int), SPEAKER * np.nan, "NaN"),
    ],
)
def test_unfit_frames_and_speakers(
    tts: TTS, frames: np.ndarray, speaker: np.ndarray, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        tts.decode(frames, speaker)


def test_encoding(tts: TTS) -> None:
    audio = np.linspace(0.1, 0.6, 4_001, dtype=np.float32)
    with pytest.warns(SpeechWarning, match="audio: holds no speech"):
        frames, speaker = tts.encode(audio, 16_000)
    assert frames.dtype == np.int64
    assert frames.shape == (1_000, 3)
    assert frames[0].tolist() == [100] * 3
    np.testing.assert_allclose(speaker, np.full(SPEAKER_CHANNELS, 0.6), rtol=1e-6)
    with pytest.warns(SpeechWarning):
        assert tts.encode(audio, 8_000)[0].shape == (2_000, 3), "another rate is resampled"


def test_a_bundle_without_an_encoder_says_so(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "engine")
    graphs = dict(load_bundle(folder).manifest.graphs)
    del graphs["codec_encoder"]
    rewrite_manifest(folder, graphs=graphs)
    with pytest.raises(UserError, match="has no codec_encoder graph"):
        TTS.load(folder).encode(np.ones(4_000, np.float32), 16_000)


# Loading.


def test_what_runs_it(plain_folder: Path, tmp_path: Path) -> None:
    assert TTS.load(plain_folder, run_with="onnxruntime").sample_rate == 16_000
    with pytest.raises(UserError, match="unknown run_with 'cuda'; there are: auto, onnxruntime"):
        TTS.load(plain_folder, run_with="cuda")
    with pytest.raises(UserError, match="backend is called run_with now; give run_with='onnx"):
        TTS.load(plain_folder, backend="onnxruntime")
    with pytest.raises(UserError, match="threads is 0"):
        TTS.load(plain_folder, threads=0)
    folder = write_bundle(tmp_path / "engine")
    engine = load_bundle(folder).manifest.engine
    rewrite_manifest(folder, engine=type(engine)(kind="tensorrt", dialect="portable"))
    with pytest.raises(
        UserError, match=r"engine\.kind is 'tensorrt' and engine\.plans is not there"
    ):
        TTS.load(folder)


def test_a_graph_that_is_not_what_the_manifest_says(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "engine")
    graphs = dict(load_bundle(folder).manifest.graphs)
    graphs["backbone"] = msgspec.structs.replace(graphs["backbone"], file="codec_encoder.onnx")
    rewrite_manifest(folder, graphs=graphs)
    with pytest.raises(UserError, match=r"codec_encoder\.onnx: backbone has the tensors"):
        TTS.load(folder)


def test_a_file_that_is_no_graph(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "engine")
    graphs = dict(load_bundle(folder).manifest.graphs)
    graphs["backbone"] = msgspec.structs.replace(graphs["backbone"], file="tokenizer.json")
    rewrite_manifest(folder, graphs=graphs)
    with pytest.raises(UserError, match=r"tokenizer\.json: ONNX Runtime .* cannot load it"):
        TTS.load(folder)


def test_a_table_with_too_few_rows(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "engine")
    np.save(folder / "embeddings.npy", np.zeros((5, HIDDEN_SIZE), np.float32))
    files = dict(read_manifest(folder).files)
    files["embeddings.npy"] = describe_file(folder / "embeddings.npy")
    rewrite_manifest(folder, files=files)
    with pytest.raises(UserError, match=r"embeddings\.npy: has 5 rows, but the tokenizer has ids"):
        TTS.load(folder)


@pytest.mark.parametrize("field", ["tokenizer", "embeddings"])
def test_files_of_another_kind(tmp_path: Path, field: str) -> None:
    folder = write_bundle(tmp_path / "engine")
    rewrite_manifest(folder, **{field: "backbone.onnx"})
    with pytest.raises(UserError, match=r"backbone\.onnx: not an? "):
        TTS.load(folder)
