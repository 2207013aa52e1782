"""Plans on a GPU, on stand-ins for CUDA and TensorRT: the same speech as on the CPU.

No GPU takes part. The stand-ins (stand_in_cuda, stand_in_tensorrt) run the very calls that the
runtime makes, as late as a GPU may, and refuse what a GPU would get wrong.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("cuda.bindings.runtime")
pytest.importorskip("tensorrt_rtx")

from cuda.bindings import runtime as real_cuda

from commands.errors import UserError
from runtime import TTS, Chunk, Sampling
from runtime.engines.tensorrt import cuda, device_states, lane, memory
from runtime.engines.tensorrt.device_rows import MAX_LANES
from runtime.speech.schedule import ChunkSchedule
from tests.runtime.stand_in_cuda import Misuse, StandInCuda
from tests.runtime.stand_in_tensorrt import write_plans
from tests.runtime.tiny_bundle import SPEAKER, Scenario, expected_frames, write_bundle

GREEDY = Sampling(do_sample=False)
TEXT = "They know it."
SPEAKER_TEMPLATE = "say {text} like <|placeholder|> <sosp>"

SCENARIOS = {
    "3 heads": Scenario(),
    "12 heads": Scenario(heads=12),
    "next token": Scenario(kind="ntp"),
    "next token, incomplete last frame": Scenario(kind="ntp", codes_a=range(50, 58)),
    "padded step": Scenario(heads=12, kept={3: 6, 7: 0}),
    "stops at once": Scenario(codes_a=()),
    "speaker-aware": Scenario(speaker_aware=True, template=SPEAKER_TEMPLATE),
}


@pytest.fixture
def engine(plain_folder: Path, tmp_path: Path) -> Path:
    return write_plans(plain_folder, tmp_path / "plans")


def both(folder: Path, scenario: Scenario, **options: Any) -> tuple[TTS, TTS]:
    """The same bundle on the CPU and on the stand-ins."""
    source = write_bundle(folder / "onnx", scenario)
    plans = write_plans(source, folder / "plans", **options)
    return TTS.load(source, threads=1), TTS.load(plans)


def assert_same(on_cpu: TTS, on_gpu: TTS, text: str = TEXT, **options: Any) -> None:
    expected, found = (tts.synthesize(text, **options) for tts in (on_cpu, on_gpu))
    np.testing.assert_array_equal(found.frames, expected.frames)
    np.testing.assert_array_equal(found.audio, expected.audio)
    assert found.finished == expected.finished


# The same speech.


@pytest.mark.parametrize("name", SCENARIOS)
def test_frames_and_audio_equal_the_cpus(gpu: Any, tmp_path: Path, name: str) -> None:
    on_cpu, on_gpu = both(tmp_path, SCENARIOS[name])
    assert_same(on_cpu, on_gpu, sampling=GREEDY)
    assert_same(on_cpu, on_gpu, "One. And two!", sampling=Sampling(seed=7, temperature=0.5))
    frames = on_gpu.synthesize(TEXT, sampling=GREEDY).frames
    if name != "speaker-aware":
        assert frames.tolist() == expected_frames(TEXT, SCENARIOS[name])


@pytest.mark.parametrize("max_steps", [1, 2, 5, 13])
def test_bounds(gpu: Any, tmp_path: Path, max_steps: int) -> None:
    assert_same(*both(tmp_path, Scenario(heads=6)), sampling=GREEDY, max_steps=max_steps)


def test_as_many_positions_as_there_are(gpu: Any, tmp_path: Path) -> None:
    endless = Scenario(codes_a=range(1_000), frames_per_token=60.0)
    assert_same(*both(tmp_path, endless), "abcdefg.", sampling=GREEDY)


def test_settings_that_decide_shapes_are_captured_anew(gpu: Any, tmp_path: Path) -> None:
    on_cpu, on_gpu = both(tmp_path, Scenario(), on_host=["top_k"])
    for top_k in (1, 50, 50, 2, 1):
        assert_same(on_cpu, on_gpu, sampling=Sampling(seed=1, top_k=top_k))


def test_many_utterances_in_a_row(gpu: Any, engine: Path, tts: TTS) -> None:
    on_gpu = TTS.load(engine)
    before = gpu.cuda.device_bytes()
    for seed in range(4):
        assert_same(tts, on_gpu, "One. Two three. Four", sampling=Sampling(seed=seed))
    assert gpu.cuda.device_bytes() == before, "all memory is allocated when the engine is loaded"


def test_other_voices(gpu: Any, engine: Path, tts: TTS) -> None:
    on_gpu = TTS.load(engine)
    voice = SPEAKER * np.float32(-0.5)
    assert_same(tts, on_gpu, sampling=GREEDY, voice=voice)
    frames = on_gpu.synthesize(TEXT, sampling=GREEDY).frames
    np.testing.assert_array_equal(on_gpu.decode(frames, voice), tts.decode(frames, voice))
    long = np.random.default_rng(0).integers(0, 1024, (1_900, 3))
    np.testing.assert_array_equal(on_gpu.decode(long, voice), tts.decode(long, voice))


def test_recordings_are_encoded_on_the_cpu(gpu: Any, engine: Path, tts: TTS) -> None:
    audio = np.linspace(0.1, 0.6, 4_001, dtype=np.float32)
    found, expected = (speaker.encode(audio, 16_000) for speaker in (TTS.load(engine), tts))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


# Streaming.


def join(chunks: list[Chunk]) -> tuple[np.ndarray, np.ndarray]:
    audio = np.concatenate([chunk.audio for chunk in chunks])
    return np.concatenate([chunk.frames for chunk in chunks]), audio


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [(1, 1.0, 1), (2, 1.5, 9), (10, 2.0, 160)])
def test_chunks_join_to_the_whole(
    gpu: Any, tmp_path: Path, sizes: tuple[int, float, int], seed: int
) -> None:
    """However far the GPU gets whenever it is asked (that is what the seed decides)."""
    gpu.cuda._random = np.random.default_rng(seed)
    on_cpu, on_gpu = both(tmp_path, Scenario(heads=12, codes_a=range(30)))
    sampling, schedule = Sampling(seed=4), ChunkSchedule(*sizes)
    chunks = list(on_gpu.stream("One. And two.", sampling=sampling, schedule=schedule))
    frames, audio = join(chunks)
    whole = on_cpu.synthesize("One. And two.", sampling=sampling)
    np.testing.assert_array_equal(frames, whole.frames)
    np.testing.assert_allclose(audio, whole.audio, atol=1e-6)
    assert all(chunk.finished for chunk in chunks) == whole.finished


def test_a_step_is_under_way_while_the_caller_works(gpu: Any, engine: Path) -> None:
    chunks = TTS.load(engine).stream(TEXT, sampling=GREEDY, schedule=ChunkSchedule(1, 1.0, 1))
    next(chunks)
    launched = gpu.cuda.calls.count("launch")
    assert any(stream.queue for stream in gpu.cuda.streams()), "the next step"
    next(chunks)
    assert gpu.cuda.calls.count("launch") > launched


def test_closing_a_stream_leaves_a_clean_engine(gpu: Any, engine: Path, tts: TTS) -> None:
    on_gpu = TTS.load(engine)
    before = gpu.cuda.device_bytes()
    for taken in (1, 2, 5):
        chunks = on_gpu.stream(f"{TEXT} {TEXT}", schedule=ChunkSchedule(1, 1.0, 1))
        for _ in range(taken):
            next(chunks)
        launched = gpu.cuda.calls.count("launch")
        chunks.close()
        assert gpu.cuda.calls.count("launch") == launched
        assert_same(tts, on_gpu, sampling=Sampling(seed=taken))
    assert gpu.cuda.device_bytes() - before < 50_000, "at most buffers for one more chunk"


def test_utterances_at_once_and_their_limit(gpu: Any, engine: Path, tts: TTS) -> None:
    on_gpu = TTS.load(engine)
    schedule = ChunkSchedule(1, 1.0, 1)
    texts = [f"Number {number}." for number in range(MAX_LANES)]
    streams = [on_gpu.stream(text, sampling=GREEDY, schedule=schedule) for text in texts]
    begun = [next(stream) for stream in streams]
    with pytest.raises(UserError, match=f"^{MAX_LANES} utterances are being spoken .* close one"):
        on_gpu.synthesize("One more.")
    for text, first, stream in zip(texts, begun, streams, strict=True):
        frames, _ = join([first, *stream])
        np.testing.assert_array_equal(frames, tts.synthesize(text, sampling=GREEDY).frames)
    assert_same(tts, on_gpu, "One more.", sampling=GREEDY)


def test_threads(gpu: Any, engine: Path, tts: TTS) -> None:
    """All at once: lanes are taken, made and given back while others speak."""
    on_gpu, found = TTS.load(engine), {}
    begin = threading.Barrier(MAX_LANES)

    def speak(first_seed: int) -> None:
        for seed in (first_seed, first_seed + MAX_LANES):
            begin.wait(timeout=60)
            spoken = on_gpu.synthesize(f"{TEXT} {TEXT}", sampling=Sampling(seed=seed))
            found[seed] = spoken.frames, spoken.audio

    run_threads([partial(speak, seed) for seed in range(MAX_LANES)])
    for seed in range(2 * MAX_LANES):
        expected = tts.synthesize(f"{TEXT} {TEXT}", sampling=Sampling(seed=seed))
        np.testing.assert_array_equal(found[seed][0], expected.frames)
        np.testing.assert_array_equal(found[seed][1], expected.audio)


def test_others_go_on_while_a_lane_is_captured(
    gpu: Any, engine: Path, tts: TTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first lane is given back and taken again, while a second one is being made."""
    on_gpu, capture = TTS.load(engine), lane.Lane._capture
    is_capturing, may_end = threading.Event(), threading.Event()

    def capture_slowly(made: Any) -> None:
        is_capturing.set()
        assert may_end.wait(timeout=60), "nobody else could go on"
        capture(made)

    monkeypatch.setattr(lane.Lane, "_capture", capture_slowly)
    first = on_gpu.stream(TEXT, sampling=GREEDY, schedule=ChunkSchedule(1, 1.0, 1))
    begun = next(first)

    def go_on() -> None:
        assert is_capturing.wait(timeout=60)
        frames, _ = join([begun, *first])
        np.testing.assert_array_equal(frames, tts.synthesize(TEXT, sampling=GREEDY).frames)
        assert_same(tts, on_gpu, "One more.", sampling=GREEDY)
        may_end.set()

    run_threads([go_on, lambda: assert_same(tts, on_gpu, "And two.", sampling=GREEDY)])


def test_a_lane_that_cannot_be_made_leaves_its_place(gpu: Any, engine: Path, tts: TTS) -> None:
    on_gpu = TTS.load(engine)
    held = on_gpu.stream(TEXT, sampling=GREEDY, schedule=ChunkSchedule(1, 1.0, 1))
    next(held)
    for _ in range(MAX_LANES + 1):
        gpu.tensorrt.can_capture = False
        with pytest.raises(UserError, match="cannot capture it"):
            on_gpu.synthesize(TEXT)
    gpu.tensorrt.can_capture = True
    assert_same(tts, on_gpu, sampling=GREEDY)


def run_threads(bodies: Sequence[Callable[[], None]]) -> None:
    """All of them at the same time; the first failure of any is raised."""
    with ThreadPoolExecutor(len(bodies)) as pool:
        for done in [pool.submit(body) for body in bodies]:
            done.result(timeout=120)


# What is said about it, and what is refused.


def test_description(gpu: Any, engine: Path) -> None:
    gpu_text = "TensorRT-RTX 1.2.3 on stand-in (compute capability 8.9)"
    assert TTS.load(engine).describe() == f"plans: 3 heads, fp32, {gpu_text}"
    assert TTS.load(engine, run_with="tensorrt-rtx").describe().endswith(gpu_text)


def test_no_driver(gpu: Any, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu.cuda.has_driver = False
    with pytest.raises(UserError, match=r"^no NVIDIA driver for CUDA 13\.0 is here"):
        TTS.load(engine)
    monkeypatch.setattr("runtime.engines.tensorrt.plan_check.DRIVER_LIBRARY", "libmissing.so.1")
    with pytest.raises(UserError, match=r"libmissing\.so\.1 of its driver is missing"):
        TTS.load(engine)


def test_a_driver_that_older_bindings_miss(
    gpu: Any, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuda-python 12.6, the one of JetPack 6, raises where others return an error."""

    def fail() -> Any:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    monkeypatch.setattr(gpu.cuda, "cudaGetDeviceCount", fail)
    with pytest.raises(UserError, match=r"^no NVIDIA driver is here \(Failed to dlopen libcuda"):
        TTS.load(engine)


def test_no_gpu(gpu: Any, engine: Path) -> None:
    gpu.cuda.devices = 0
    with pytest.raises(UserError, match=r"^no NVIDIA GPU is visible; check nvidia-smi"):
        TTS.load(engine)


def test_another_gpu(gpu: Any, engine: Path) -> None:
    gpu.cuda.compute_capability = (12, 0)
    with pytest.raises(
        UserError,
        match=r"are for compute capability 8\.9, stand-in has 12\.0; TensorRT-RTX cannot compute "
        r"in fp32, so rebuild with --precision fp16, bf16",
    ):
        TTS.load(engine)


def test_another_version(gpu: Any, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(gpu.tensorrt), "__version__", "9.9.9")
    with pytest.raises(UserError, match=r"are for TensorRT-RTX 1\.2\.3, here is 9\.9\.9; install"):
        TTS.load(engine)


def test_no_memory(gpu: Any, engine: Path) -> None:
    gpu.cuda.memory_bytes = 20_000
    with pytest.raises(
        UserError, match=r"^out of GPU memory: \d+ MiB more .* close other programs"
    ):
        TTS.load(engine)


def test_what_cannot_be_captured(gpu: Any, engine: Path) -> None:
    gpu.tensorrt.can_capture = False
    with pytest.raises(UserError, match=r"backbone\.plan: TensorRT cannot capture it into a CUDA"):
        TTS.load(engine)


@pytest.mark.parametrize("name", ["past_length", "noise"])
def test_inputs_of_a_step_that_decide_shapes(gpu: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"cannot be captured \({name} decides shapes\); rebuild"):
        both(tmp_path, Scenario(), on_host=[name])


def test_a_plan_that_is_none(gpu: Any, plain_folder: Path, tmp_path: Path) -> None:
    from runtime.bundle.loading import describe_file
    from runtime.bundle.manifest import read_manifest
    from tests.runtime.tiny_bundle import rewrite_manifest

    folder = write_plans(plain_folder, tmp_path / "plans")
    (folder / "backbone.plan").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"backbone\.plan: 7 bytes instead of"):
        TTS.load(folder)
    files = dict(read_manifest(folder).files)
    files["backbone.plan"] = describe_file(folder / "backbone.plan")
    rewrite_manifest(folder, files=files)
    with pytest.raises(UserError, match=r"backbone\.plan: TensorRT-RTX cannot load it"):
        TTS.load(folder)


def test_a_plan_that_is_not_what_the_manifest_says(gpu: Any, engine: Path) -> None:
    """Manifests that hold together, but speak of other plans."""
    from runtime.bundle.manifest import Range, StateSpec, read_manifest
    from tests.runtime.tiny_bundle import rewrite_manifest

    graphs = dict(read_manifest(engine).graphs)
    backbone, codec = graphs["backbone"], graphs["codec_decoder"]
    context, (audio, present) = codec.inputs[4], codec.outputs
    more = {"inputs": "past_context_1", "outputs": "present_context_1"}
    wrong = {
        "has the tensors": msgspec.structs.replace(
            codec,
            inputs=(*codec.inputs, *_changed([context], name=more["inputs"])),
            outputs=(*codec.outputs, *_changed([context], name=more["outputs"])),
            states=(*codec.states, StateSpec(more["inputs"], more["outputs"], in_place=False)),
        ),
        "has past_key_0 as float32, the manifest says float16": msgspec.structs.replace(
            backbone,
            inputs=(*backbone.inputs[:2], *_changed(backbone.inputs[2:], dtype="float16")),
            outputs=(backbone.outputs[0], *_changed(backbone.outputs[1:], dtype="float16")),
        ),
        r"has past_context_0 as \[\?, 3, 5\], .* says \[rows, 3, 6\]": msgspec.structs.replace(
            codec,
            inputs=(*codec.inputs[:4], *_changed([context], shape=("rows", 3, 6))),
            outputs=(audio, *_changed([present], shape=("rows", 3, 6))),
        ),
        "writes present_key_0 over past_key_0": msgspec.structs.replace(
            backbone, states=_changed(backbone.states, in_place=False)
        ),
        "has 2 profiles": msgspec.structs.replace(
            backbone, profiles={"step": backbone.profiles["step"]}
        ),
        "has sizes of frames open, the manifest says nothing": msgspec.structs.replace(
            codec, profiles={}
        ),
        r"takes frames as \[1, 1, 3\] … \[1, 20, 3\] … \[4, 900, 3\] in profile 0, the manifest "
        r"says \[1, 1, 3\] … \[1, 20, 3\] … \[4, 901, 3\]": msgspec.structs.replace(
            codec, profiles={"call": codec.profiles["call"] | {"frames": Range(1, 20, 901)}}
        ),
    }
    for complaint, spec in wrong.items():
        name = "backbone" if spec.file == backbone.file else "codec_decoder"
        rewrite_manifest(engine, graphs={**graphs, name: spec})
        with pytest.raises(UserError, match=complaint):
            TTS.load(engine)


def _changed(tensors: Any, **changes: Any) -> Any:
    return tuple(msgspec.structs.replace(tensor, **changes) for tensor in tensors)


def test_engines_that_do_not_fit(plain_folder: Path, engine: Path) -> None:
    with pytest.raises(UserError, match=r"built for 'onnxruntime', so tensorrt-rtx cannot run it"):
        TTS.load(plain_folder, run_with="tensorrt-rtx")
    with pytest.raises(UserError, match=r"built for 'tensorrt-rtx', so onnxruntime cannot run it"):
        TTS.load(engine, run_with="onnxruntime")


# The stand-in itself: it must notice what a GPU would punish.


def test_the_stand_in_has_the_real_signatures() -> None:
    functions = [name for name in vars(StandInCuda) if name.startswith("cuda")]
    assert len(functions) > 25
    for name in functions:
        expected = list(inspect.signature(getattr(real_cuda, name)).parameters)
        found = list(inspect.signature(getattr(StandInCuda, name)).parameters)[1:]
        assert found == expected, name


def test_the_layer_calls_nothing_else(gpu: Any) -> None:
    with pytest.raises(Misuse, match="the stand-in has no cudaDeviceReset"):
        gpu.cuda.cudaDeviceReset()
    assert gpu.cuda.cudaError_t is real_cuda.cudaError_t


def test_downloads_are_poison_until_they_are_waited_for(gpu: Any) -> None:
    stream, event = cuda.Stream(), cuda.Event()
    mirror = memory.Mirror([3], np.int32)
    mirror.host[...] = [1, 2, 3]
    mirror.upload(stream)
    mirror.host[...] = 0  # too early: the upload has not been waited for
    stream.synchronize()
    mirror.download(stream)
    event.record(stream)
    assert (mirror.host != 0).all(), "poison"
    event.synchronize()
    assert mirror.host.tolist() == [0, 0, 0]


def test_memory_that_was_freed_or_never_written(gpu: Any) -> None:
    stream, mirror = cuda.Stream(), memory.Mirror([4], np.float32)
    mirror.download(stream)
    with pytest.raises(Misuse, match="not all were written"):
        stream.synchronize()
    address = mirror.device.address
    del mirror
    with pytest.raises(Misuse, match="was freed"):
        gpu.cuda.cudaMemsetAsync(address, 0, 16, stream.handle)
    with pytest.raises(Misuse, match="not in one allocation"):
        gpu.cuda.cudaMemsetAsync(memory.DeviceMemory(16).address, 0, 17, stream.handle)


def plant_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda.Event, "synchronize", lambda self: None)


def plant_one_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise and position of the next step overwrite those of the step that is under way."""
    original = lane.Lane._allocate

    def allocate(self: Any) -> None:
        original(self)
        self._feed[1] = self._feed[0]

    monkeypatch.setattr(lane.Lane, "_allocate", allocate)


def plant_same_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    original = device_states.DeviceStates.addresses
    monkeypatch.setattr(device_states.DeviceStates, "addresses", lambda self, _: original(self, 0))


def plant_no_clearing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_states.DeviceStates, "clear", lambda self, stream: None)


@pytest.mark.parametrize(
    "plant", [plant_no_wait, plant_one_slot, plant_same_turn, plant_no_clearing]
)
def test_planted_faults_are_found(
    gpu: Any, engine: Path, tts: TTS, monkeypatch: pytest.MonkeyPatch, plant: Any
) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, IndexError, UserError, ValueError)):
        speak_twice_as_on_the_cpu(engine, tts)


def speak_twice_as_on_the_cpu(engine: Path, tts: TTS) -> None:
    on_gpu = TTS.load(engine)
    for text in (TEXT, "No."):
        assert_same(tts, on_gpu, text, sampling=Sampling(seed=3))


def test_without_a_fault_nothing_is_found(gpu: Any, engine: Path, tts: TTS) -> None:
    speak_twice_as_on_the_cpu(engine, tts)
