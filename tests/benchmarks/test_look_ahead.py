"""`python -m benchmarks.look_ahead`: figures of hastened speech, and its refusal in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.look_ahead import EVERY_FRAMES, hastened_errors, main, summarise
from runtime import TTS

PLACES = 3


def test_errors_grow_as_the_look_ahead_shrinks(tiny_native_engine: Path) -> None:
    tts = TTS.load(tiny_native_engine, threads=1)
    spec, random = tts.bundle.manifest.codec, np.random.default_rng(0)
    count = spec.delay_frames + PLACES * EVERY_FRAMES
    frames = random.integers(0, spec.streams, (count, len(spec.streams)))
    found = {n: [*hastened_errors(tts, frames, tts.speaker(), n)] for n in (0, spec.delay_frames)}
    assert [len(errors) for errors in found.values()] == [PLACES, PLACES]
    assert all(speech > 0 for errors in found.values() for speech, _ in errors)
    assert all(error > 0 for _, error in found[0])
    assert all(error == 0 for _, error in found[spec.delay_frames])
    estimated, exact = (summarise(tts, errors) for errors in found.values())
    assert all(np.less(estimated, exact))


def test_another_engine_is_refused(tiny_engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--engine", str(tiny_engine), "--sentences", "1"]) == 2
    assert "has no look-ahead" in capsys.readouterr().err.splitlines()[-1]
