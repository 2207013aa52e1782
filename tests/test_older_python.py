"""The oldest Python and a newer one make the same bundles and say the same.

The newer one is named by NEWER_PYTHON, as `make python310-check` does. Packages have other versions
there (requirements.lock), so that ONNX Runtime's sums may differ in their last bits; the native
engine is the same library.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parent.parent
NEWER_PYTHON = os.environ.get("NEWER_PYTHON", "")
TEXT = "The birds sang in the old garden while the rain fell softly."
ORT_STEPS = 1  # of 16 bits. 63 of 50,400 samples differ by one: ONNX Runtime 1.23.2 and 1.32.0

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 11) or not NEWER_PYTHON,
    reason="compares Python 3.10 with the one that NEWER_PYTHON names",
)


def speak_demo(python: str, target: str, folder: Path) -> Path:
    """Export the demo voice to `engine` and speak to `out.wav` and `frames.json`."""
    folder.mkdir()
    export = ["export.build", "--target", target, "--heads", "3", "--output", "engine"]
    outputs = ["-o", "out.wav", "--frames-out", "frames.json"]
    speak = ["runtime.tts", TEXT, "--engine", "engine", "--threads", "1", "--seed", "3", *outputs]
    for command in (export, speak):
        done = subprocess.run(
            [python, "-m", *command],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("target", ["native", "onnxruntime"])
@pytest.mark.usefixtures("native_library")
def test_both_make_the_same_bundle_and_say_the_same(target: str, tmp_path: Path) -> None:
    ours = speak_demo(sys.executable, target, tmp_path / "ours")
    theirs = speak_demo(NEWER_PYTHON, target, tmp_path / "theirs")
    files = sorted(path.relative_to(ours) for path in ours.rglob("*") if path.is_file())
    assert files == sorted(p.relative_to(theirs) for p in theirs.rglob("*") if p.is_file())
    differing = [str(f) for f in files if (ours / f).read_bytes() != (theirs / f).read_bytes()]
    told = "engine/manifest.json"  # says the versions, and what the checks measured
    expected = {told} if target == "native" else {told, "out.wav"}
    assert set(differing) <= expected, "frames and graphs are the same in any case"
    first, second = (soundfile.read(f / "out.wav", dtype="int16")[0] for f in (ours, theirs))
    assert len(first) > 16_000
    np.testing.assert_allclose(first.astype(int), second.astype(int), atol=ORT_STEPS)
