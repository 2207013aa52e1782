"""Calls of the codec's decoder in the native library: frames in, as much audio out.

In: frames of one utterance, call by call, as `runtime.engines.calls` has them. Out: audio that is
`delay_frames` late. The library hands out samples as soon as later frames cannot change them; what
is ahead of a call's own samples waits for the next call. The first call of hastened speech is less
late: see `HasteningGraph`.
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

    def __init__(
        self, model: NativeModel, observer: Observer | None, look_ahead: int | None = None
    ) -> None:
        """look_ahead: how late the first call is, in frames, if it is hastened."""
        self._model, self._observer = model, observer
        self._look_ahead = look_ahead
        self._speech: ctypes.c_void_p | None = None
        # How late the next call is.
        self._late = model.facts.delay_frames if look_ahead is None else look_ahead
        # Samples that are made but were not asked for. What lies before the utterance is silent.
        self._ready = self._silence(self._late)
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
        later = self._model.facts.delay_frames - self._late
        self._ready = np.concatenate([self._silence(later), self._ready[len(taken) :]])
        self._late += later
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
        if self._look_ahead is not None:
            library.call("slm_speech_hasten", speech, self._look_ahead)
        return speech

    def _silence(self, frames: int) -> NDArray[np.float32]:
        return np.zeros(frames * self._model.facts.hop_samples, np.float32)


def _close_speech(functions: Any, speech: ctypes.c_void_p, _model: NativeModel) -> None:
    """The model outlives its speeches because this call holds it."""
    functions.slm_speech_close(speech)
