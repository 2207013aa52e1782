"""Rows: each says what it would say by itself, whoever joins or leaves beside it.

On the hand-written bundle, whose rows count for themselves, with every engine. Exported models are
in tests/test_row_parity.py.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from commands.errors import UserError
from runtime import TTS, Sampling
from runtime.bundle.manifest import SamplingDefaults
from runtime.engines.rows import Request, Row, RowLoop
from runtime.speech.codec import DecoderStream
from runtime.speech.schedule import ChunkSchedule
from tests.random_rows import random_requests, speak_alone, speak_together
from tests.runtime.tiny_bundle import (
    ROWS,
    SPEAKER,
    Scenario,
    expected_frames,
    prompt_ids,
    write_bundle,
)

STEPS = 200
TEXT = "They know it."
SCENARIOS = {
    "3 heads": Scenario(codes_a=range(10, 60)),
    "12 heads": Scenario(heads=12, codes_a=range(10, 40), kept={3: 6, 7: 0}),
    "next token": Scenario(kind="ntp", codes_a=range(10, 60)),
    "stops at once": Scenario(codes_a=()),
    "two streams": Scenario(heads=4, streams=(600, 500), codes_a=range(10, 60)),
    "four streams, next token": Scenario(
        kind="ntp", streams=(600, 90, 450, 601), codes_a=range(10, 60)
    ),
}


def load(folder: Path, scenario: Scenario) -> TTS:
    return TTS.load(write_bundle(folder / "engine", scenario), threads=1)


def request(tts: TTS, text: str, max_steps: int = 100, seed: int | None = None) -> Request:
    sampling = Sampling(do_sample=False) if seed is None else Sampling(seed=seed)
    return Request(
        tts.prompts.embed(tts.prompts.read(text), tts.speaker()),
        sampling.resolve(tts.bundle.manifest.sampling),
        sampling.random_generator(0),
        max_steps,
    )


def finish(loop: RowLoop, *rows: Row) -> dict[Row, list[list[int]]]:
    found: dict[Row, list[list[int]]] = {row: [] for row in rows}
    while loop.rows:
        for step in loop.step():
            found[step.row] += step.frames.tolist()
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SCENARIOS)
def test_rows_join_and_leave_at_random(tmp_path: Path, name: str, seed: int) -> None:
    tts = load(tmp_path, SCENARIOS[name])
    check_rows(tts, ROWS, seed)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", SCENARIOS)
def test_rows_on_the_gpu_join_and_leave_at_random(
    gpu: Any, tmp_path: Path, name: str, seed: int
) -> None:
    """On the stand-ins. What the GPU says equals what the CPU says to each text by itself."""
    from tests.runtime.stand_in_tensorrt import ROWS as ROWS_OF_PLANS
    from tests.runtime.stand_in_tensorrt import write_plans

    on_cpu = load(tmp_path, SCENARIOS[name])
    on_gpu = TTS.load(write_plans(on_cpu.bundle.folder, tmp_path / "plans"))
    assert on_gpu.decoder.rows == ROWS_OF_PLANS
    check_rows(on_gpu, ROWS_OF_PLANS, seed, alone=on_cpu)


def check_rows(tts: TTS, rows: int, seed: int, alone: TTS | None = None) -> None:
    requests = random_requests(tts, 5 * rows, seed)
    together = speak_together(tts.decoder, requests, rows, STEPS, seed)
    assert sum(spoken.steps > 0 for spoken in together) > rows
    for asked, found in zip(requests, together, strict=True):
        if found.steps:
            expected = speak_alone((alone or tts).decoder, asked, found.steps)
            assert found == expected


def test_a_row_joins_while_another_is_speaking(tmp_path: Path) -> None:
    scenario = Scenario(codes_a=range(10, 30))
    tts = load(tmp_path, scenario)
    with tts.decoder.open_rows(2) as loop:
        first = loop.add(request(tts, "One."))
        before = [frame for _ in range(4) for step in loop.step() for frame in step.frames.tolist()]
        second = loop.add(request(tts, "Twenty two."))
        found = finish(loop, first, second)
    assert before + found[first] == expected_frames("One.", scenario)
    assert found[second] == expected_frames("Twenty two.", scenario)


def test_each_live_row_brings_one_step(tmp_path: Path) -> None:
    tts = load(tmp_path, Scenario(codes_a=range(10, 30)))
    with tts.decoder.open_rows(3) as loop:
        rows = [loop.add(request(tts, "One.", max_steps)) for max_steps in (1, 5, 9)]
        counts = []
        while loop.rows:
            counts.append([rows.index(step.row) for step in loop.step()])
    assert [sorted(step) for step in counts] == [[0, 1, 2]] + 4 * [[1, 2]] + 4 * [[2]]
    assert [row.steps for row in rows] == [1, 5, 9]
    assert all(row.ended for row in rows)


def test_a_row_that_leaves_makes_room(tmp_path: Path) -> None:
    tts = load(tmp_path, Scenario(codes_a=range(10, 30)))
    with tts.decoder.open_rows(2) as loop:
        first, second = (loop.add(request(tts, text)) for text in ("One.", "Two two."))
        loop.step()
        with pytest.raises(UserError, match="2 texts are being spoken side by side"):
            loop.add(request(tts, "Three."))
        loop.remove(first)
        loop.remove(first)
        assert loop.rows == [second]
        third = loop.add(request(tts, "Three."))
        found = finish(loop, second, third)
    assert found[second] == expected_frames("Two two.", Scenario(codes_a=range(10, 30)))[1:]
    assert found[third] == expected_frames("Three.", Scenario(codes_a=range(10, 30)))


def test_caches_grow_for_a_row_that_needs_more(tmp_path: Path) -> None:
    scenario = Scenario(codes_a=range(10, 60))
    tts = load(tmp_path, scenario)
    with tts.decoder.open_rows(2) as loop:
        short = loop.add(request(tts, "One.", max_steps=60))
        begun = loop.step()[0].frames.tolist()
        long = "x" * 300 + "."
        longer = loop.add(request(tts, long, max_steps=60))
        found = finish(loop, short, longer)
    assert begun + found[short] == expected_frames("One.", scenario)
    assert found[longer] == expected_frames(long, scenario)
    assert len(prompt_ids(long)) + 60 > 256, "more than the caches began with"


def test_a_paused_row_takes_no_step_and_keeps_its_place(tmp_path: Path) -> None:
    scenario = Scenario(codes_a=range(10, 30))
    tts = load(tmp_path, scenario)
    with tts.decoder.open_rows(2) as loop:
        first, second = (loop.add(request(tts, text)) for text in ("One.", "Two two."))
        loop.pause(first)
        assert loop.stepping == 0, "it has not begun"
        begun = [step.frames.tolist() for step in loop.step()]
        loop.pause(first)
        loop.pause(first)
        assert loop.stepping == 1
        assert {*loop.rows} == {first, second}
        with pytest.raises(UserError, match="2 texts are being spoken side by side"):
            loop.add(request(tts, "Three."))
        rest = [step for _ in range(4) for step in loop.step()]
        assert {step.row for step in rest} == {second}
        loop.pause(second)
        assert loop.step() == []
        loop.remove(second)
        loop.resume(second)
        loop.resume(first)
        found = finish(loop, first)
    assert begun[0] + found[first] == expected_frames("One.", scenario)


def test_a_row_with_a_cache_that_grew_while_it_was_paused_goes_on(tmp_path: Path) -> None:
    scenario = Scenario(codes_a=range(10, 60))
    tts = load(tmp_path, scenario)
    with tts.decoder.open_rows(2) as loop:
        short = loop.add(request(tts, "One.", max_steps=60))
        begun = loop.step()[0].frames.tolist()
        loop.pause(short)
        long = "x" * 300 + "."
        longer = loop.add(request(tts, long, max_steps=60))
        first = loop.step()[0].frames.tolist()
        loop.resume(short)
        found = finish(loop, short, longer)
    assert begun + found[short] == expected_frames("One.", scenario)
    assert first + found[longer] == expected_frames(long, scenario)


@pytest.mark.parametrize("room", [0, ROWS + 1])
def test_more_rows_than_the_engine_takes_are_refused(tmp_path: Path, room: int) -> None:
    tts = load(tmp_path, Scenario())
    with pytest.raises(UserError, match=rf"{room} rows side by side; .* 1 to {ROWS}: export"):
        tts.decoder.open_rows(room)


def test_states_in_a_providers_memory_are_of_one_row(tmp_path: Path) -> None:
    from runtime.bundle.loading import load_bundle
    from runtime.engines.onnxruntime.graphs import OnnxRuntimeGraph
    from tests.runtime.test_onnxruntime import AS_ON_A_GPU

    bundle = load_bundle(write_bundle(tmp_path / "engine"))
    there = TTS(bundle, lambda name: OnnxRuntimeGraph(bundle, name, 1, AS_ON_A_GPU), "test")
    assert there.decoder.rows == 1


def test_plans_that_read_settings_on_the_host_take_one_row(gpu: Any, tmp_path: Path) -> None:
    from tests.runtime.stand_in_tensorrt import write_plans

    source = write_bundle(tmp_path / "onnx")
    tts = TTS.load(write_plans(source, tmp_path / "plans", on_host=["top_k"]))
    with pytest.raises(UserError, match=r"takes one row at a time, because top_k decides shapes"):
        tts.decoder.open_rows(2)


def test_lanes_of_other_sizes_make_room(gpu: Any, plain_folder: Path, tmp_path: Path) -> None:
    from runtime.engines.tensorrt.device_rows import MAX_LANES
    from tests.runtime.stand_in_tensorrt import write_plans

    tts = TTS.load(write_plans(plain_folder, tmp_path / "plans"))
    for room in (1, 2, 3, 4):
        tts.decoder.open_rows(room).close()
    loops = [tts.decoder.open_rows(2) for _ in range(MAX_LANES)]
    with pytest.raises(UserError, match="on this GPU at once"):
        tts.decoder.open_rows(1)
    for loop in loops:
        loop.close()
        loop.close()
    assert len(tts.synthesize("Go.").frames)


@pytest.mark.parametrize("paused_after", range(1, 5))
def test_a_row_on_the_gpu_takes_all_its_steps_whenever_it_is_paused(
    gpu: Any, tmp_path: Path, paused_after: int
) -> None:
    """A step is under way while it is paused; none is when it goes on."""
    from tests.runtime.stand_in_tensorrt import write_plans

    scenario = Scenario(codes_a=range(10, 30))
    plans = write_plans(load(tmp_path, scenario).bundle.folder, tmp_path / "plans")
    tts = TTS.load(plans)
    with tts.decoder.open_rows(2) as loop:
        row = loop.add(request(tts, "One.", max_steps=5))
        found = [*loop.step()[0].frames.tolist()]
        for _ in range(paused_after - 1):
            found += loop.step()[0].frames.tolist()
        loop.pause(row)
        for _ in range(3):
            found += [frame for step in loop.step() for frame in step.frames.tolist()]
        assert row.steps == paused_after + 1, "the one under way"
        loop.resume(row)
        found += finish(loop, row)[row]
    assert row.steps == 5
    assert found == expected_frames("One.", scenario)[:5]


def plant_rows_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of the last row does not follow it to its new slot."""
    from runtime.engines.tensorrt.device_states import DeviceStates

    monkeypatch.setattr(DeviceStates, "move", lambda *_: None)


def plant_no_state_for_new_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.engines.tensorrt.device_states import DeviceStates

    monkeypatch.setattr(DeviceStates, "take_row", lambda *_: None)


def plant_paused_rows_of_the_wrong_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.engines.tensorrt.device_states import DeviceStates

    give = DeviceStates.give_row
    monkeypatch.setattr(
        DeviceStates, "give_row", lambda self, slot, turn, *rest: give(self, slot, 1 - turn, *rest)
    )


def plant_settings_of_the_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.engines.tensorrt.lane import Lane

    monkeypatch.setattr(Lane, "_send_settings", lambda lane: None)


def plant_the_wrong_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row begins in the buffers that the next step writes."""
    from runtime.engines.tensorrt.device_states import DeviceStates

    take = DeviceStates.take_row
    monkeypatch.setattr(
        DeviceStates, "take_row", lambda self, slot, turn, *rest: take(self, slot, 1 - turn, *rest)
    )


@pytest.mark.parametrize(
    "plant",
    [
        plant_rows_that_stay,
        plant_no_state_for_new_rows,
        plant_paused_rows_of_the_wrong_turn,
        plant_settings_of_the_first_row,
        plant_the_wrong_turn,
    ],
)
def test_planted_faults_are_found(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: Any
) -> None:
    from tests.runtime.stand_in_tensorrt import ROWS as ROWS_OF_PLANS
    from tests.runtime.stand_in_tensorrt import write_plans

    on_cpu = load(tmp_path, SCENARIOS["next token"])
    plans = write_plans(on_cpu.bundle.folder, tmp_path / "plans")
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        check_rows(TTS.load(plans), ROWS_OF_PLANS, 0, alone=on_cpu)


def test_loops_in_several_threads_share_nothing(tmp_path: Path) -> None:
    """Loops of many rows, and ordinary calls, of one loaded engine at the same time."""
    tts = load(tmp_path, SCENARIOS["next token"])
    requests = random_requests(tts, 30, seed=5)
    alone = [tts.synthesize(TEXT, sampling=Sampling(seed=seed)).frames for seed in range(4)]

    def speak(seed: int) -> None:
        together = speak_together(tts.decoder, requests, 4, 60, seed)
        for asked, found in zip(requests, together, strict=True):
            if found.steps:
                assert found == speak_alone(tts.decoder, asked, found.steps)
        frames = tts.synthesize(TEXT, sampling=Sampling(seed=seed)).frames
        np.testing.assert_array_equal(frames, alone[seed])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(speak, seed) for seed in range(4)]:
            done.result(timeout=120)


# The codec.


@dataclass
class Speech:
    """One utterance that goes through the codec beside others."""

    frames: NDArray[np.int64]
    stream: DecoderStream
    audio: list[NDArray[np.float32]] = field(default_factory=list)


@pytest.mark.parametrize("seed", range(3))
def test_streams_share_calls(tts: TTS, seed: int) -> None:
    """Whatever their number, their lengths, and how many frames come at a time."""
    random = np.random.default_rng(seed)
    codec, speeches = tts.codec, []
    for number in range(5):
        frames = random.integers(0, 1024, (int(random.integers(1, 60)), 3))
        voice = SPEAKER * np.float32(number + 1)
        speeches.append(Speech(frames, DecoderStream(codec, voice, ChunkSchedule(3, 1.5, 9))))
    left = [list(speech.frames) for speech in speeches]
    while any(left):
        for speech, rest in zip(speeches, left, strict=True):
            taken, rest[:] = rest[:4], rest[4:]
            speech.stream.add(np.array(taken, np.int64).reshape(-1, 3))
        codec.start_due([speech.stream for speech in speeches])
        for speech in speeches:
            speech.audio += [chunk.audio for chunk in speech.stream.ready()]
    for number, speech in enumerate(speeches):
        speech.audio += [chunk.audio for chunk in speech.stream.finish()]
        alone = codec.decode(speech.frames, SPEAKER * np.float32(number + 1))
        np.testing.assert_allclose(np.concatenate(speech.audio), alone, atol=1e-6)


def test_chunks_of_one_size_are_one_call(plain_folder: Path) -> None:
    from tests.runtime.test_synthesis import counted

    calls: list[str] = []
    tts = counted(plain_folder, calls)
    frames = np.random.default_rng(0).integers(0, 1024, (3, 20, 3))
    schedule = ChunkSchedule(5, 1.0, 5)
    streams = [DecoderStream(tts.codec, SPEAKER, schedule) for _ in frames]
    for stream, own in zip(streams, frames, strict=True):
        stream.add(own)
    tts.codec.start_due(streams)
    assert calls.count("codec_decoder") == 2, "two chunks each, as rows of one call"
    for stream, own in zip(streams, frames, strict=True):
        chunks = [*stream.ready(), *stream.finish()]
        audio = np.concatenate([chunk.audio for chunk in chunks])
        np.testing.assert_allclose(audio, tts.decode(own, SPEAKER), atol=1e-6)
        np.testing.assert_array_equal(np.concatenate([chunk.frames for chunk in chunks]), own)


def test_other_streams_and_rates_speak(tmp_path: Path) -> None:
    """Nothing in the runtime knows FACodec's numbers."""
    scenario = Scenario(heads=4, streams=(600, 500), sample_rate_hz=24_000)
    tts = load(tmp_path, scenario)
    spoken = tts.synthesize("They know it.", sampling=Sampling(do_sample=False))
    assert spoken.frames.tolist() == expected_frames("They know it.", scenario)
    assert spoken.frames.shape[1] == 2
    assert spoken.sample_rate == 24_000
    np.testing.assert_array_equal(tts.decode(spoken.frames, tts.speaker()), spoken.audio)
    with pytest.raises(UserError, match=r"outside 0 … 499 in column 1"):
        tts.decode(np.full((4, 2), 500), tts.speaker())


def test_a_closed_loop_takes_no_row(tmp_path: Path) -> None:
    tts = load(tmp_path, SCENARIOS["3 heads"])
    with tts.decoder.open_rows(2) as loop:
        loop.add(request(tts, TEXT))
        loop.step()
    assert loop.rows == []
    with pytest.raises(UserError, match="this loop is closed; open another"):
        loop.add(request(tts, TEXT))


@pytest.mark.parametrize(
    "prompt",
    [np.zeros(4, np.float32), np.zeros((1, 3, 4)), np.zeros((1, 0, 4), np.float32)],
)
def test_a_prompt_of_another_form_is_refused(prompt: NDArray[Any]) -> None:
    sampling = Sampling(do_sample=False)
    with pytest.raises(UserError, match=r"give float32 \[1, positions, hidden_size\]"):
        Request(prompt, SamplingDefaults(), sampling.random_generator(0), max_steps=5)


def test_a_request_without_a_step_is_refused(tmp_path: Path) -> None:
    tts = load(tmp_path, SCENARIOS["3 heads"])
    with pytest.raises(UserError, match="max_steps is 0; give 1 or more"):
        request(tts, TEXT, max_steps=0)
