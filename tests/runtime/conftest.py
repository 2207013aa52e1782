"""Fixtures of the runtime's tests: the hand-written bundle, written once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from runtime import TTS
from tests.runtime.tiny_bundle import write_bundle

settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test may change."""
    return write_bundle(tmp_path_factory.mktemp("plain") / "engine")


@pytest.fixture(scope="session")
def tts(plain_folder: Path) -> TTS:
    return TTS.load(plain_folder, threads=1)
