"""Sequences of the native library: what a row has read, and the codes that it draws.

In: embeddings, sampling settings and noise. Out: tokens of a text, and codes of steps that several
sequences take side by side. It knows no requests, frames or rows of a loop.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.manifest import SamplingDefaults
from runtime.engines.native.library import (
    Drawn,
    Error,
    SamplingSettings,
    address_of,
    as_floats,
    failure,
)
from runtime.engines.native.model import NativeModel

MOST_CODES = 2**31 - 1  # what the library can be told for `top_k`


class Sequence:
    """One utterance of the language model. One thread at a time may use it."""

    def __init__(self, model: NativeModel, positions: int) -> None:
        """positions: as many will be read. Raises `UserError` without memory for them."""
        self._model = model
        self._library = model.library
        self.handle = self._library.open("slm_sequence_open", model.handle, positions)
        self._close = weakref.finalize(
            self, _close_sequence, self._library.functions, self.handle, model
        )

    def read(self, embeddings: NDArray[np.float32]) -> None:
        """Read float32 [1, positions, hidden_size] after everything that was read before."""
        values = as_floats(embeddings)
        self._library.call("slm_read", self.handle, address_of(values), values.shape[1])

    def hidden(self) -> NDArray[np.float32]:
        """The hidden state of the last position, float32 [hidden_size], after the final norm."""
        values = np.zeros(self._model.facts.hidden_size, np.float32)
        self._library.call("slm_hidden", self.handle, address_of(values))
        return values

    def write(self, sampling: SamplingDefaults, noise: float) -> int:
        """Draw a token of text after the last position. It is not read yet."""
        token = ctypes.c_int32()
        settings = settings_of(sampling)
        self._library.call(
            "slm_write", self.handle, ctypes.byref(settings), noise, ctypes.byref(token)
        )
        return token.value

    def close(self) -> None:
        """Give its memory back. Calling it again does nothing."""
        self._close()


class Codes(NamedTuple):
    """What one step draws for one sequence: the codes that are speech, and whether it ends."""

    codes: list[int]
    stop: bool


class SideBySide:
    """Memory in which up to `room` sequences take steps together."""

    def __init__(self, model: NativeModel, room: int) -> None:
        heads = model.facts.heads
        self._step = model.library.functions.slm_step
        self._handles = (ctypes.c_void_p * room)()
        self._settings = (SamplingSettings * room)()
        self.noise = np.zeros((room, heads), np.float32)
        self._codes = np.zeros((room, heads), np.int32)
        self._drawn = np.zeros((room, len(Drawn._fields_)), np.int32)
        self._error = Error()
        self._addresses = (
            ctypes.addressof(self._settings),
            *map(address_of, (self.noise, self._codes, self._drawn)),
        )

    def place(self, slot: int, sequence: Sequence, sampling: SamplingDefaults) -> None:
        """The sequence in `slot` from now on."""
        self._handles[slot] = sequence.handle.value
        self._settings[slot] = settings_of(sampling)

    def move(self, source: int, target: int) -> None:
        """Another slot for a sequence."""
        self._handles[target] = self._handles[source]
        self._settings[target] = self._settings[source]

    def step(self, count: int) -> list[Codes]:
        """One step of the first `count` sequences, with the noise that lies in `noise`."""
        status = self._step(
            ctypes.addressof(self._handles), count, *self._addresses, ctypes.byref(self._error)
        )
        if status:
            raise failure(status, self._error)
        codes = self._codes[:count].tolist()
        drawn = self._drawn[:count].tolist()
        return [
            Codes(row[:kept], bool(stop)) for row, (kept, stop) in zip(codes, drawn, strict=True)
        ]


def settings_of(sampling: SamplingDefaults) -> SamplingSettings:
    """slm_sampling of settled settings."""
    return SamplingSettings(
        temperature=sampling.temperature,
        top_k=min(sampling.top_k, MOST_CODES),
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
    )


def _close_sequence(functions: Any, handle: ctypes.c_void_p, _model: NativeModel) -> None:
    """The model outlives its sequences because this call holds it."""
    functions.slm_sequence_close(handle)
