"""Exported models on the stand-ins for CUDA and TensorRT: the frames of the same graphs on the CPU.

The plans are the graphs of either standard dialect, so what runs is what TensorRT is given, but for
its kernels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from export.options import Capacity, ExportOptions, Numbers, Source
from export.pipeline import build_bundle
from runtime import TTS, Sampling
from runtime.bundle.names import STANDARD
from tests.random_rows import random_requests, speak_alone, speak_together
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_models import make_lm_checkpoint

MODELS: dict[str, dict[str, Any]] = {
    "6 linear heads": {"heads": 6, "end_bias": 1.0, "pad_bias": 3.0},
    "3 transformer heads": {"heads": 3, "head_kind": "transformer", "speaker_aware": True},
    "next token": {"heads": 1},
}
TEXT = "They know it."
STEPS = 24


@pytest.fixture(scope="module", params=STANDARD)
def graphs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    codec = make_codec_checkpoint(folder / "codec")
    speaker = np.random.default_rng(0).standard_normal(256, dtype=np.float32)
    save_file({"speaker": speaker}, folder / "anna.safetensors")
    for name, model in MODELS.items():
        checkpoint = make_lm_checkpoint(folder / "models" / name, **model, streams=TINY_STREAMS)
        source = Source(checkpoint, codec, (f"anna={folder / 'anna.safetensors'}",))
        numbers, capacity = Numbers(dialect=request.param), Capacity(max_positions=300)
        build_bundle(ExportOptions(source, numbers, capacity, output=folder / name))
    return {name: folder / name for name in MODELS}


@pytest.mark.parametrize("longest_part", [256, 17])
@pytest.mark.parametrize("name", MODELS)
def test_frames_equal_the_cpus(
    gpu: Any, graphs: dict[str, Path], tmp_path: Path, name: str, longest_part: int
) -> None:
    """The prompt is longer than 17 positions: it also comes in parts."""
    from tests.runtime.stand_in_tensorrt import write_plans

    plans = write_plans(graphs[name], tmp_path / "plans", longest_part=longest_part)
    on_cpu, on_gpu = TTS.load(graphs[name], threads=1), TTS.load(plans)
    for sampling in (Sampling(do_sample=False, repetition_penalty=1.3), Sampling(seed=5)):
        expected, found = (
            tts.synthesize(TEXT, sampling=sampling, max_steps=STEPS) for tts in (on_cpu, on_gpu)
        )
        np.testing.assert_array_equal(found.frames, expected.frames)
        assert found.finished == expected.finished
        np.testing.assert_allclose(found.audio, expected.audio, atol=1e-6)


def test_a_library_that_knows_no_aliases(
    gpu: Any, graphs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TensorRT 10.3, which has no layer that writes over its input either."""
    from tests.runtime.stand_in_tensorrt import StandInEngine, write_plans

    monkeypatch.delattr(StandInEngine, "get_aliased_input_tensor")
    name = next(iter(MODELS))
    plans = write_plans(graphs[name], tmp_path / "plans")
    expected, found = (
        TTS.load(folder).synthesize(TEXT, sampling=Sampling(seed=5), max_steps=STEPS)
        for folder in (graphs[name], plans)
    )
    np.testing.assert_array_equal(found.frames, expected.frames)


@pytest.mark.parametrize("name", MODELS)
def test_rows_equal_the_cpus_solo_runs(
    gpu: Any, graphs: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """Rows join and leave at random; some prompts come in parts."""
    from tests.runtime.stand_in_tensorrt import ROWS, write_plans

    plans = write_plans(graphs[name], tmp_path / "plans", longest_part=17)
    on_cpu, on_gpu = TTS.load(graphs[name], threads=1), TTS.load(plans)
    requests = random_requests(on_cpu, 40, seed=2)
    together = speak_together(on_gpu.decoder, requests, ROWS, 60, seed=2)
    assert sum(spoken.steps for spoken in together) > 100
    for asked, found in zip(requests, together, strict=True):
        if found.steps:
            assert found == speak_alone(on_cpu.decoder, asked, found.steps)
