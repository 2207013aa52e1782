"""A manifest that lies is refused before the first step, or what it says does not matter.

Sizes, types, names and counts that do not fit the graphs, drawn at random: never another error,
never one in the middle of speech.
"""

from __future__ import annotations

import json
import shutil
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands.errors import UserError
from runtime import TTS, Sampling
from runtime.bundle.manifest import read_manifest
from runtime.bundle.names import MANIFEST_FILE
from runtime.speech.answering import Chat
from tests.runtime.manifest_lies import tell_lie
from tests.runtime.tiny_bundle import Scenario, write_bundle

LIES = 150  # of each bundle
AWARE = "say {text} like <|placeholder|> <sosp>"
SCENARIOS = {
    "3 heads": Scenario(),
    "next token": Scenario(kind="ntp"),
    "12 heads, speaker-aware, answers": Scenario(
        heads=12, speaker_aware=True, template=AWARE, writes=" Yes. aloud <sosp>"
    ),
}
TEXT = "Go on. And on."
GREEDY = Sampling(do_sample=False)
# What the user of a bundle may choose: other speech, if any, is as it should be.
CHOICES = ("sampling", "length", "prompt", "chat", "voices", "default_voice")


def speak(folder: Path) -> dict[str, np.ndarray]:
    """Everything that a bundle can do. `UserError` is fine up to the first step, not behind it."""
    has_chat = read_manifest(folder).chat is not None
    tts = (Chat if has_chat else TTS).load(folder, threads=1)
    chunks = tts.stream(TEXT, sampling=GREEDY)
    recorded = tts.encode(np.linspace(0.1, 0.6, 4_001, dtype=np.float32), tts.sample_rate)
    answer = tts.stream_answer("Who?", sampling=GREEDY) if isinstance(tts, Chat) else iter(())
    try:
        spoken = [*chunks, *(piece for piece in answer if not isinstance(piece, str))]
    except UserError as error:
        raise AssertionError(f"in the middle of speech: {error}") from error
    return {
        "audio": np.concatenate([chunk.audio for chunk in spoken]),
        "frames": np.concatenate([chunk.frames for chunk in spoken]),
        "recorded": recorded[0],
        "speaker": recorded[1],
        "rate": np.array(tts.sample_rate),
    }


def check_speech(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], lie: str) -> None:
    assert np.isfinite(found["audio"]).all()
    assert ((found["frames"] >= 0) & (found["frames"] < 1024)).all()
    assert len(found["audio"]) >= len(found["frames"])
    if not lie.startswith(CHOICES):
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, name)


def outcomes(folder: Path, count: int) -> tuple[list[str], int]:
    """(lies with another outcome than they should have, how many were refused)."""
    truth = (folder / MANIFEST_FILE).read_bytes()
    expected, random = speak(folder), np.random.default_rng(len(truth))
    wrong, refused = [], 0
    for _ in range(count):
        lie, manifest = tell_lie(json.loads(truth), random)
        (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
        try:
            check_speech(speak(folder), expected, lie)
        except UserError as error:
            refused += 1
            if "\n" in str(error):
                wrong.append(f"{lie}: more than a line: {error}")
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            wrong.append(f"{lie}: {type(error).__name__} {str(error)[:200]} at {where}")
    (folder / MANIFEST_FILE).write_bytes(truth)
    return wrong, refused


@pytest.mark.parametrize("name", SCENARIOS)
def test_lies_are_refused_or_do_not_matter(tmp_path: Path, name: str) -> None:
    wrong, refused = outcomes(write_bundle(tmp_path / "engine", SCENARIOS[name]), LIES)
    assert not wrong, "\n".join(wrong)
    assert refused > LIES / 2


@pytest.mark.parametrize("name", SCENARIOS)
def test_lies_about_plans(gpu: Any, tmp_path: Path, name: str) -> None:
    from tests.runtime.stand_in_tensorrt import write_plans

    scenario = replace(SCENARIOS[name], writes=None)  # answers need ONNX Runtime
    source = write_bundle(tmp_path / "onnx", scenario)
    wrong, refused = outcomes(write_plans(source, tmp_path / "plans"), LIES)
    assert not wrong, "\n".join(wrong)
    assert refused > LIES / 2


def test_lies_about_an_exported_bundle(tiny_engine: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_engine, tmp_path / "engine"))
    wrong, refused = outcomes(folder, LIES)
    assert not wrong, "\n".join(wrong)
    assert refused > LIES / 2
