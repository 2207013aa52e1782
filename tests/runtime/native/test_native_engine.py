"""The native engine behind the interfaces of the runtime: what it says, refuses and measures."""

from __future__ import annotations

import gc
import json
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from commands.errors import UserError
from runtime import TTS, Sampling
from runtime.bundle.names import BACKBONE, CODEC_ENCODER, MANIFEST_FILE, PACKED_WEIGHTS
from runtime.engines.graph import Graph, LoopingGraph
from runtime.engines.native.library import load_library
from runtime.engines.rows import Request
from runtime.engines.texts import WritingGraph
from runtime.profile import main as profile
from runtime.profiling.report import read_report
from runtime.speech.decoding import SpeechDecoder

TEXT = "They know it."


@pytest.fixture(scope="module")
def native(tiny_native_engine: Path) -> TTS:
    return TTS.load(tiny_native_engine, threads=1)


def test_it_says_what_runs(native: TTS, tiny_native_engine: Path) -> None:
    said = (
        rf"native: 3 heads, fp32, native engine {load_library().version}, \w+, cache fp32, 1 thread"
    )
    assert re.fullmatch(said, native.describe())
    many = TTS.load(tiny_native_engine, threads=4_000).describe()
    assert many.endswith(" instead of 4000: this process may use no more")


def test_bundles_are_run_by_what_they_were_built_for(
    tiny_native_engine: Path, tiny_engine: Path
) -> None:
    with pytest.raises(UserError, match="built for 'native', so onnxruntime cannot run it"):
        TTS.load(tiny_native_engine, run_with="onnxruntime")
    with pytest.raises(UserError, match=r"so native cannot run it; .* --target native"):
        TTS.load(tiny_engine, run_with="native")
    assert "native engine" in TTS.load(tiny_native_engine, run_with="native").describe()


def test_mapped_weights_speak_alike(
    native: TTS, tiny_native_engine: Path, tiny_engine: Path
) -> None:
    mapped = TTS.load(tiny_native_engine, threads=1, map_weights=True)
    said = [
        tts.synthesize(TEXT, sampling=Sampling(seed=3), max_steps=8) for tts in (native, mapped)
    ]
    np.testing.assert_array_equal(said[0].audio, said[1].audio)
    if Path("/proc/self/maps").exists():
        file = str((tiny_native_engine / PACKED_WEIGHTS).resolve())
        assert file in Path("/proc/self/maps").read_text()
    with pytest.raises(UserError, match="only the native engine maps weights, not onnxruntime"):
        TTS.load(tiny_engine, map_weights=True)


def test_interfaces_are_provided(native: TTS) -> None:
    assert isinstance(native.backbone, LoopingGraph)
    assert isinstance(native.backbone, WritingGraph)
    head: Graph = native.open_graph(native.bundle.manifest.head)
    with pytest.raises(AssertionError, match="mtp_head has no calls of its own"):
        head.run({})


def test_a_damaged_bundle_is_refused(tiny_native_engine: Path, tmp_path: Path) -> None:
    copy = tmp_path / "engine"
    shutil.copytree(tiny_native_engine, copy)
    weights = copy / PACKED_WEIGHTS
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=rf"{PACKED_WEIGHTS}: content differs from its hash"):
        TTS.load(copy)
    weights.write_bytes(content)
    manifest = json.loads((copy / MANIFEST_FILE).read_text("utf-8"))
    manifest["codec"]["delay_frames"] += 1
    (copy / MANIFEST_FILE).write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(UserError, match="delay_frames"):
        TTS.load(copy)


def test_the_same_speech_from_several_threads(native: TTS) -> None:
    seeds = range(6)
    alone = [native.synthesize(TEXT, voice="anna", sampling=Sampling(seed=s)) for s in seeds]
    found: dict[int, np.ndarray] = {}

    def speak(seed: int) -> None:
        found[seed] = native.synthesize(TEXT, voice="anna", sampling=Sampling(seed=seed)).audio

    threads = [threading.Thread(target=speak, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, speech in enumerate(alone):
        np.testing.assert_array_equal(found[seed], speech.audio)


def test_rows_leave_in_any_order(native: TTS) -> None:
    """Each place is used again, and closed loops take no more."""
    settings = Sampling(do_sample=False).resolve(native.bundle.manifest.sampling)
    prompts = np.random.default_rng(0).standard_normal((3, 1, 7, 64)).astype(np.float32)

    def request(number: int) -> Request:
        return Request(prompts[number], settings, np.random.default_rng(0), 50)

    decoder: SpeechDecoder = native.decoder
    alone = [[s.frames.tolist() for s in decoder.steps(request(n))] for n in range(3)]
    with decoder.open_rows(3) as loop:
        assert loop.step() == []
        rows = [loop.add(request(n)) for n in range(3)]
        loop.step()
        loop.remove(rows[2])  # the last place
        loop.remove(rows[0])  # another moves there
        again = loop.add(request(2))
        heard: dict[object, list] = {rows[1]: [alone[1][0]], again: []}
        for _ in range(3):
            for step in loop.step():
                heard[step.row].append(step.frames.tolist())
    assert heard[rows[1]] == alone[1][:4]
    assert heard[again] == alone[2][:3]
    with pytest.raises(UserError, match="this loop is closed"):
        loop.add(request(0))


def test_a_bundle_lives_as_long_as_what_was_opened_in_it(tiny_native_engine: Path) -> None:
    tts = TTS.load(tiny_native_engine)
    chunks = tts.stream(TEXT, voice="anna", sampling=Sampling(seed=1))
    whole = tts.synthesize(TEXT, voice="anna", sampling=Sampling(seed=1)).audio
    del tts
    gc.collect()
    np.testing.assert_array_equal(np.concatenate([chunk.audio for chunk in chunks]), whole)


def test_a_bundle_without_an_encoder_says_so(tiny_native_engine: Path, tmp_path: Path) -> None:
    copy = tmp_path / "engine"
    shutil.copytree(tiny_native_engine, copy)
    manifest = json.loads((copy / MANIFEST_FILE).read_text("utf-8"))
    del manifest["graphs"][CODEC_ENCODER]
    (copy / MANIFEST_FILE).write_text(json.dumps(manifest), "utf-8")
    tts = TTS.load(copy)
    with pytest.raises(UserError, match="has no codec_encoder graph"):
        tts.encode(np.zeros(16_000, np.float32), 16_000)


def test_the_profile_names_the_stages(
    tiny_native_engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_file = tmp_path / "profile.json"
    command = ["--engine", str(tiny_native_engine), "--text", TEXT, "--voice", "anna"]
    assert profile([*command, "--runs", "2", "--max-steps", "5", "--json", str(report_file)]) == 0
    [subject] = read_report(report_file).subjects
    stages = {stage.name: stage for stage in subject.stages}
    assert list(stages) == ["text", "prefill", "whole_step", "codec_chunk"]
    assert stages["prefill"].seconds.count == 2
    assert stages["whole_step"].seconds.count <= 10
    assert all(stage.limit for stage in subject.stages[1:]), "a native bundle says its sizes"
    assert "one step, backbone and heads" in capsys.readouterr().out
    assert BACKBONE not in stages
