"""A bundle that the native library has opened, and what it holds compared with the manifest.

In: a checked bundle, and how many threads may work. Out: its handle, and a line that says what runs
it. It knows no loops.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Mapping
from ctypes import c_void_p

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from formats.precisions import CacheFormat
from runtime.bundle.loading import Bundle
from runtime.bundle.names import PACKED_WEIGHTS, TEXT_HEAD
from runtime.engines.native.library import (
    Facts,
    Library,
    Options,
    address_of,
    how_to_build,
    load_library,
)

# The library takes no more than the processors that are free to the process. More than these were
# not measured; memory limits the reading of weights before that.
MAX_DEFAULT_THREADS = 8
# slm_facts.cache -> as precisions are called.
CACHES: Mapping[str, CacheFormat] = {"float32": "fp32", "float16": "fp16", "int8": "int8"}


class NativeModel:
    """An opened bundle. Any number of threads may use it: nothing in it changes.

    library: what runs it. handle: of the library. facts: what the library found in the weights.
    """

    def __init__(
        self,
        bundle: Bundle,
        threads: int | None,
        *,
        map_weights: bool = False,
        time_parts: bool = False,
    ) -> None:
        """map_weights: processes share one copy of the weights; otherwise each has its own in large
        pages, which are faster to read. time_parts: keep what the model's parts cost.

        Raises:
            UserError: no library, a damaged bundle, or no memory.
        """
        self.library: Library = load_library()
        self.bundle = bundle
        self._asked_for = threads
        options = Options(
            size=ctypes.sizeof(Options),
            threads=MAX_DEFAULT_THREADS if threads is None else threads,
            map_weights=map_weights,
            time_parts=time_parts,
        )
        folder = os.fsencode(bundle.folder)
        self.handle: c_void_p = self.library.open("slm_open", folder, ctypes.byref(options))
        weakref.finalize(self, self.library.functions.slm_close, self.handle)
        self.facts = Facts(size=ctypes.sizeof(Facts))
        self.library.call("slm_describe", self.handle, ctypes.byref(self.facts))
        if self.facts.cache is None:  # an older library does not write it
            raise UserError(f"{self.library.path}: is older than this runtime; {how_to_build()}")
        _check_facts(bundle, self.facts)

    def describe(self) -> str:
        """Engine, version, kernels and threads, in words."""
        threads = self.facts.threads
        said = f"{threads} thread{'s' if threads > 1 else ''}"
        if self._asked_for is not None and self._asked_for > threads:
            said += f" instead of {self._asked_for}: this process may use no more"
        kernels = self.facts.kernels.decode()
        return f"native engine {self.library.version}, {kernels}, cache {self.cache}, {said}"

    @property
    def cache(self) -> CacheFormat:
        """The number format of keys and values."""
        return CACHES[self.facts.cache.decode()]

    def read_prefixes(self) -> list[NDArray[np.uint8]]:
        """What the prefixes of prompts were read as, in bytes that `STORED_PREFIXES` can hold."""
        return [self._read_prefix(number) for number in range(self.facts.prefixes)]

    def _read_prefix(self, number: int) -> NDArray[np.uint8]:
        size = ctypes.c_size_t()
        self.library.call("slm_prefix", self.handle, number, None, 0, ctypes.byref(size))
        state = np.zeros(size.value, np.uint8)
        room, address = state.size, address_of(state)
        self.library.call("slm_prefix", self.handle, number, address, room, ctypes.byref(size))
        return state


def _check_facts(bundle: Bundle, facts: Facts) -> None:
    """Raises `UserError` if the weights are of another model than the manifest says."""
    manifest = bundle.manifest
    model, codec = manifest.language_model, manifest.codec
    for name, found, described in (
        ("heads", facts.heads, model.heads),
        ("is_next_token", facts.is_next_token, int(model.kind == "ntp")),
        ("hidden_size", facts.hidden_size, model.hidden_size),
        ("max_positions", facts.max_positions, model.max_positions),
        ("streams", facts.streams, len(codec.streams)),
        ("sample_rate_hz", facts.sample_rate_hz, codec.sample_rate_hz),
        ("hop_samples", facts.hop_samples, codec.hop_samples),
        ("delay_frames", facts.delay_frames, codec.delay_frames),
        ("speaker_channels", facts.speaker_channels, codec.speaker_channels),
        ("is_speaker_aware", facts.is_speaker_aware, int(model.speaker_aware)),
        ("has_text_head", facts.has_text_head, int(TEXT_HEAD in manifest.graphs)),
    ):
        if found != described:
            raise UserError(
                f"{bundle.path(PACKED_WEIGHTS)}: has {name} {found}, the manifest says "
                f"{described}; export again"
            )
