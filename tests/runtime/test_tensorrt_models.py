"""Exported models on the stand-ins for CUDA and TensorRT: the frames of the same graphs on the CPU.

The plans are the portable graphs, so what runs is what TensorRT is given, but for its kernels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from export.options import BuildOptions
from export.pipeline import build_bundle
from runtime import TTS, Sampling
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_models import make_lm_checkpoint

MODELS: dict[str, dict[str, Any]] = {
    "6 linear heads": {"heads": 6, "end_bias": 1.0, "pad_bias": 3.0},
    "3 transformer heads": {"heads": 3, "head_kind": "transformer", "speaker_aware": True},
    "next token": {"heads": 1},
}
TEXT = "They know it."
STEPS = 24


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("portable")
    codec = make_codec_checkpoint(folder / "codec")
    speaker = np.random.default_rng(0).standard_normal(256, dtype=np.float32)
    save_file({"speaker": speaker}, folder / "anna.safetensors")
    for name, model in MODELS.items():
        options = BuildOptions(
            model=make_lm_checkpoint(folder / "models" / name, **model, streams=TINY_STREAMS),
            codec=codec,
            voices=(f"anna={folder / 'anna.safetensors'}",),
            output=folder / name,
            dialect="portable",
            max_positions=300,
        )
        build_bundle(options)
    return {name: folder / name for name in MODELS}


@pytest.mark.parametrize("longest_part", [256, 17])
@pytest.mark.parametrize("name", MODELS)
def test_frames_equal_the_cpus(
    gpu: Any, portable: dict[str, Path], tmp_path: Path, name: str, longest_part: int
) -> None:
    """The prompt is longer than 17 positions: it also comes in parts."""
    from tests.runtime.stand_in_tensorrt import write_plans

    plans = write_plans(portable[name], tmp_path / "plans", longest_part=longest_part)
    on_cpu, on_gpu = TTS.load(portable[name], threads=1), TTS.load(plans)
    for sampling in (Sampling(do_sample=False, repetition_penalty=1.3), Sampling(seed=5)):
        expected, found = (
            tts.synthesize(TEXT, sampling=sampling, max_steps=STEPS) for tts in (on_cpu, on_gpu)
        )
        np.testing.assert_array_equal(found.frames, expected.frames)
        assert found.finished == expected.finished
        np.testing.assert_allclose(found.audio, expected.audio, atol=1e-6)
