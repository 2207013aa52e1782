"""Calls of the codec's decoder in the native library: frames in, as much audio out.

In: frames of one utterance, call by call, as `runtime.engines.calls` has them. Out: audio that is
`delay_frames` late. The library hands out samples as soon as later frames cannot change them; what
is ahead of a call's own samples waits for the next call.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import names
from runtime.engines.calls import Finished
from runtime.engines.graph import Array
from runtime.engines.native.library import address_of, as_floats
from runtime.engines.native.model import NativeModel
from runtime.engines.observing import CODEC_CHUNK, Observer, observed


class SpeechCalls:
    """See `Calls`. One thread at a time may use it."""

    def __init__(self, model: NativeModel, observer: Observer | None) -> None:
        self._model, self._observer = model, observer
        self._speech: ctypes.c_void_p | None = None
        facts = model.facts
        # Samples that are made but were not asked for. What lies before the utterance is silent.
        self._ready = np.zeros(facts.delay_frames * facts.hop_samples, np.float32)
        self._has_ended = False

    def start(self, inputs: Mapping[str, Array], dimensions: Mapping[str, int]) -> Finished:
        """See `Calls`. Frames behind the end of the utterance are not looked at."""
        past, whole = (int(inputs[n][0]) for n in (names.PAST_FRAMES, names.UTTERANCE_FRAMES))
        frames = inputs[names.CODEC_FRAMES][0]
        is_last = past + len(frames) >= whole
        with observed(self._observer, CODEC_CHUNK):
            if not self._has_ended:
                new = self._decode(inputs[names.SPEAKER], frames[: max(0, whole - past)], is_last)
                self._ready = np.concatenate([self._ready, new])
        self._has_ended = is_last
        audio = np.zeros((1, dimensions[names.SAMPLES]), np.float32)  # silent behind the end
        taken = self._ready[: audio.shape[1]]
        audio[0, : len(taken)] = taken
        self._ready = self._ready[len(taken) :]
        return Finished({names.AUDIO: audio})

    def _decode(
        self, speaker: NDArray[np.float32], frames: NDArray[np.int64], is_last: bool
    ) -> NDArray[np.float32]:
        library = self._model.library
        if self._speech is None:
            self._speech = self._open(speaker)
        codes = np.ascontiguousarray(frames, np.int32)
        room = library.functions.slm_speech_room(self._speech, len(codes))
        audio, samples = np.empty(room, np.float32), ctypes.c_size_t()
        library.call(
            "slm_speech_decode",
            self._speech,
            address_of(codes),
            len(codes),
            int(is_last),
            address_of(audio),
            room,
            ctypes.byref(samples),
        )
        return audio[: samples.value]

    def _open(self, speaker: NDArray[np.float32]) -> ctypes.c_void_p:
        library, values = self._model.library, as_floats(speaker)
        speech = library.open("slm_speech_open", self._model.handle, address_of(values))
        weakref.finalize(self, _close_speech, library.functions, speech, self._model)
        return speech


def _close_speech(functions: Any, speech: ctypes.c_void_p, _model: NativeModel) -> None:
    """The model outlives its speeches because this call holds it."""
    functions.slm_speech_close(speech)
