"""What several tests share: a tiny bundle, and a few recordings with their texts."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: threads would only wait for each other

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, settings

from commands.errors import UserError
from export.graph.onnxruntime_version import OldOnnxRuntime
from export.options import ExportOptions, Numbers, Source
from runtime import TTS
from runtime.bundle.names import NATIVE
from tests.runtime.tiny_bundle import write_bundle
from tests.torch_elsewhere import HAS_TORCH
from tests.torch_users import needs_torch

SAMPLE_RATE_HZ = 16_000

# A busy machine is no failure, and no change fails by examples that it happens to meet first.
# `pytest --hypothesis-profile searching` looks for new ones.
UNHURRIED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", derandomize=True, **UNHURRIED)
settings.register_profile("searching", **UNHURRIED)
settings.load_profile("repeatable")

# Where tests are started in the background, signals are ignored, and commands keep it so.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SENTENCES = ("They know it.", "We read the letter twice.", "Is the door open?")


def pytest_report_header() -> str:
    return "" if HAS_TORCH else "no torch here: files of tests that need it are passed over"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without PyTorch, its users are no tests. None: nothing else is decided here."""
    is_user = collection_path.suffix == ".py" and not HAS_TORCH and needs_torch(collection_path)
    return True if is_user else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    return (yield from _needing_onnxruntime())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    return (yield from _needing_onnxruntime())


def _needing_onnxruntime() -> Generator[None, Any, Any]:
    """Portable graphs are not tested where the newest ONNX Runtime is too old: on Python 3.10."""
    try:
        return (yield)
    except OldOnnxRuntime as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A tiny random 3-head model and codec, with one voice."""
    from safetensors.numpy import save_file

    from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
    from tests.tiny_models import make_lm_checkpoint

    folder = tmp_path_factory.mktemp("tiny")
    codec = make_codec_checkpoint(folder / "codec")
    model = make_lm_checkpoint(folder / "model", heads=3, streams=TINY_STREAMS)
    speaker = np.random.default_rng(0).standard_normal(256, dtype=np.float32)
    save_file({"speaker": speaker}, folder / "anna.safetensors")
    return Source(model, codec, (f"anna={folder / 'anna.safetensors'}",))


@pytest.fixture(scope="session")
def tiny_engine(tiny_source: Source) -> Path:
    """A bundle of `tiny_source` for ONNX Runtime, beside its model."""
    from export.pipeline import build_bundle

    assert tiny_source.model is not None
    folder = tiny_source.model.parent / "engine"
    build_bundle(ExportOptions(tiny_source, output=folder))
    return folder


@pytest.fixture(scope="session")
def native_library() -> Path:
    """The native engine's library, compiled by this machine's compiler unless it is current."""
    from native.build import build

    try:
        return build()[0]
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny_native_engine(
    native_library: Path, tiny_source: Source, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle of `tiny_source` for the native engine."""
    from export.native.bundle import build_native_bundle

    folder = tmp_path_factory.mktemp("tiny") / "native"
    build_native_bundle(ExportOptions(tiny_source, Numbers(dialect=NATIVE), output=folder))
    return folder


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short sounds with texts beside them."""
    folder = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(1)
    for index, text in enumerate(SENTENCES):
        time = np.arange(int((0.6 + 0.2 * index) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        tone = 0.3 * np.sin(2 * np.pi * (150 + 60 * index) * time)
        audio = tone + 0.05 * random.standard_normal(len(time))
        soundfile.write(folder / f"{index}.wav", audio.astype(np.float32), SAMPLE_RATE_HZ)
        (folder / f"{index}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test may change."""
    return write_bundle(tmp_path_factory.mktemp("plain") / "engine")


@pytest.fixture(scope="session")
def tts(plain_folder: Path) -> TTS:
    return TTS.load(plain_folder, threads=1)
