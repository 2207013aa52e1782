"""The native library through ctypes: `native/include/slm.h`, function by function.

In: numpy arrays and numbers. Out: the same, or a `UserError` with the library's own line. Calls let
other threads of Python run. It knows the interface, but no models and no loops.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_void_p,
)
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.engines.native.places import BUILD_COMMAND, BUILDER, find_library

INTERFACE = 1  # SLM_INTERFACE
BROKEN = 7  # SLM_BROKEN

# Memory of numpy arrays: their address.
_ARRAY = c_void_p
_HANDLE = c_void_p
_NEW_HANDLE = POINTER(c_void_p)


class Error(Structure):
    """slm_error"""

    _fields_ = (("message", c_char * 512),)


class Options(Structure):
    """slm_options"""

    _fields_ = (
        ("size", c_uint32),
        ("threads", c_int32),
        ("map_weights", c_int32),
        ("kernels", c_char_p),
        ("time_parts", c_int32),
    )


class Facts(Structure):
    """slm_facts"""

    _fields_ = (
        ("size", c_uint32),
        ("heads", c_int32),
        ("is_next_token", c_int32),
        ("hidden_size", c_int32),
        ("max_positions", c_int32),
        ("streams", c_int32),
        ("sample_rate_hz", c_int32),
        ("hop_samples", c_int32),
        ("delay_frames", c_int32),
        ("speaker_channels", c_int32),
        ("is_speaker_aware", c_int32),
        ("has_text_head", c_int32),
        ("threads", c_int32),
        ("weight_bytes", c_int64),
        ("step_bytes", c_int64),
        ("precision", c_char_p),
        ("codec_precision", c_char_p),
        ("kernels", c_char_p),
        ("cache", c_char_p),
        ("prefixes", c_int32),
    )


class SamplingSettings(Structure):
    """slm_sampling"""

    _fields_ = (
        ("temperature", c_float),
        ("top_k", c_int32),
        ("top_p", c_float),
        ("repetition_penalty", c_float),
    )


class Drawn(Structure):
    """slm_drawn"""

    _fields_ = (("kept", c_int32), ("stop", c_int32))


class PartTime(Structure):
    """slm_part_time"""

    _fields_ = (
        ("stage", c_char_p),
        ("layer", c_char_p),
        ("part", c_char_p),
        ("seconds", c_double),
        ("calls", c_int64),
    )


class MachineLimits(Structure):
    """slm_limits"""

    _fields_ = (
        ("size", c_uint32),
        ("read_bytes_per_second", c_double),
        ("fp32_macs_per_second", c_double),
        ("bf16_macs_per_second", c_double),
        ("int8_macs_per_second", c_double),
    )


# Functions that return a status. All take an error last.
_CALLS: dict[str, tuple[Any, ...]] = {
    "slm_open": (c_char_p, POINTER(Options), _NEW_HANDLE),
    "slm_describe": (_HANDLE, POINTER(Facts)),
    "slm_project_speaker": (_HANDLE, _ARRAY, _ARRAY),
    "slm_prefix": (_HANDLE, c_size_t, _ARRAY, c_size_t, POINTER(c_size_t)),
    "slm_part_times": (_HANDLE, POINTER(PartTime), c_size_t, POINTER(c_size_t)),
    "slm_measure_limits": (c_int32, POINTER(MachineLimits)),
    "slm_sequence_open": (_HANDLE, c_int64, _NEW_HANDLE),
    "slm_read": (_HANDLE, _ARRAY, c_size_t),
    "slm_hidden": (_HANDLE, _ARRAY),
    "slm_write": (_HANDLE, POINTER(SamplingSettings), c_float, POINTER(c_int32)),
    "slm_step": (_ARRAY, c_size_t, _ARRAY, _ARRAY, _ARRAY, _ARRAY),
    "slm_speech_open": (_HANDLE, _ARRAY, _NEW_HANDLE),
    "slm_speech_hasten": (_HANDLE, c_int32),
    "slm_speech_decode": (
        _HANDLE,
        _ARRAY,
        c_size_t,
        c_int32,
        _ARRAY,
        c_size_t,
        POINTER(c_size_t),
    ),
    "slm_encode": (_HANDLE, _ARRAY, c_size_t, _ARRAY, c_size_t, POINTER(c_size_t), _ARRAY),
}
# Functions that cannot fail -> what they return.
_OTHERS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "slm_version": (c_char_p, ()),
    "slm_close": (None, (_HANDLE,)),
    "slm_sequence_close": (None, (_HANDLE,)),
    "slm_speech_close": (None, (_HANDLE,)),
    "slm_speech_room": (c_size_t, (_HANDLE, c_size_t)),
}


class Library:
    """The loaded library. Functions that return a status go through `call`; others are `functions`.

    version: of the library, in words.
    """

    def __init__(self, path: Path) -> None:
        """Raises `UserError` for a file that is not a library of this interface."""
        self.path = path
        try:
            self.functions: Any = ctypes.CDLL(str(path))
            _check_interface(path, self.functions.slm_interface)
            _declare(self.functions)
        except (OSError, AttributeError) as error:
            raise UserError(
                f"{path}: is no native library for this Python ({error}); {how_to_build()}"
            ) from None
        self.version: str = self.functions.slm_version().decode()

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function by its name, with all arguments but the error.

        Raises:
            UserError: it failed. The message is the library's own.
        """
        error = Error()
        status = getattr(self.functions, function)(*arguments, ctypes.byref(error))
        if status:
            raise failure(status, error)

    def open(self, function: str, *arguments: Any) -> c_void_p:
        """Call a function whose last argument is a new handle."""
        handle = c_void_p()
        self.call(function, *arguments, ctypes.byref(handle))
        return handle


def failure(status: int, error: Error) -> Exception:
    """The exception for a status."""
    message = error.message.decode(errors="replace")
    if status == BROKEN:
        return RuntimeError(f"the native library failed: {message}")
    return UserError(message)


@cache
def load_library() -> Library:
    """The library of this installation, loaded once.

    Raises:
        UserError: there is none, or it is of another version.
    """
    path = find_library()
    if path is None:
        raise UserError(f"the native engine's library is not there; {how_to_build()}")
    return Library(path)


def how_to_build() -> str:
    """What to do where there is no library, or another one."""
    if BUILDER.is_file():
        return f"build it: {BUILD_COMMAND}"
    return "install slm-deploy from a wheel for this platform, or build it in a clone"


def address_of(array: NDArray[Any]) -> int:
    """Where an array's numbers lie. The caller keeps the array alive."""
    assert array.flags.c_contiguous, "an array is not contiguous"
    return array.ctypes.data


def as_floats(array: NDArray[Any]) -> NDArray[np.float32]:
    """Contiguous float32."""
    return np.ascontiguousarray(array, np.float32)


def _check_interface(path: Path, function: Any) -> None:
    function.restype, function.argtypes = c_uint32, ()
    if (found := function()) != INTERFACE:
        raise UserError(
            f"{path}: has interface {found}, and this runtime needs {INTERFACE}; {how_to_build()}"
        )


def _declare(functions: Any) -> None:
    for name, types in _CALLS.items():
        function = getattr(functions, name)
        function.restype, function.argtypes = ctypes.c_int, (*types, POINTER(Error))
    for name, (returned, types) in _OTHERS.items():
        function = getattr(functions, name)
        function.restype, function.argtypes = returned, types
