"""The parts of a native bundle behind the interface of `runtime.engines.graph`.

In: an opened bundle. Out: a backbone that runs its own loops, a decoder that keeps the states of
its calls, and graphs without state. It does not compute: the library does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import names
from runtime.bundle.manifest import SamplingDefaults
from runtime.engines.graph import Array, Graph, OpenRows
from runtime.engines.native.library import address_of, as_floats
from runtime.engines.native.model import NativeModel
from runtime.engines.native.native_rows import NativeRows
from runtime.engines.native.native_text import NativeText
from runtime.engines.native.speech import SpeechCalls
from runtime.engines.observing import Observer, observed, stage_of


class NativeGraph:
    """A part of the bundle that only a loop calls: a head."""

    def __init__(self, model: NativeModel, name: str, observer: Observer | None) -> None:
        """Raises `UserError` if the bundle was built without it."""
        self.spec = model.bundle.graph(name)
        self.model, self._name, self._observer = model, name, observer

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise AssertionError(f"{self._name} has no calls of its own: the backbone's loops call it")


class NativeBackbone(NativeGraph):
    """The backbone, which takes turns with a head inside of the library."""

    rows = names.MAX_ROWS

    def prepare_rows(self, head: Graph, streams: int) -> OpenRows:
        """See `LoopingGraph`."""
        assert isinstance(head, NativeGraph), f"{head.spec.file} is of another engine"
        return partial(NativeRows, self.model, streams, observer=self._observer)

    def begin_text(
        self,
        text_head: Graph,
        prompt: NDArray[np.float32],
        sampling: SamplingDefaults,
        capacity: int,
    ) -> NativeText:
        """See `WritingGraph`."""
        assert isinstance(text_head, NativeGraph), f"{text_head.spec.file} is of another engine"
        return NativeText(self.model, prompt, sampling, capacity, self._observer)


class NativeDecoder(NativeGraph):
    """The codec's decoder."""

    def open_calls(self) -> SpeechCalls:
        """See `SeriesGraph`."""
        return SpeechCalls(self.model, self._observer)

    def open_hastened_calls(self, look_ahead: int) -> SpeechCalls:
        """See `HasteningGraph`."""
        return SpeechCalls(self.model, self._observer, look_ahead)


class NativeProjection(NativeGraph):
    """A speaker becomes the embedding that stands for it in a prompt."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        speaker = as_floats(inputs[names.SPEAKER])
        embedding = np.zeros((1, 1, self.model.facts.hidden_size), np.float32)
        self.model.library.call(
            "slm_project_speaker", self.model.handle, address_of(speaker), address_of(embedding)
        )
        return {names.SPEAKER_TOKEN: embedding}


class NativeEncoder(NativeGraph):
    """The codec's encoder."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        audio = as_floats(inputs[names.AUDIO])
        facts, count = self.model.facts, ctypes.c_size_t()
        frames = np.zeros((1, audio.size // facts.hop_samples + 1, facts.streams), np.int32)
        speaker = np.zeros((1, facts.speaker_channels), np.float32)
        with observed(self._observer, stage_of(self._name)):
            self.model.library.call(
                "slm_encode",
                self.model.handle,
                address_of(audio),
                audio.size,
                address_of(frames),
                frames.shape[1],
                ctypes.byref(count),
                address_of(speaker),
            )
        return {
            names.CODEC_FRAMES: frames[:, : count.value].astype(np.int64),
            names.SPEAKER: speaker,
        }


_KINDS: dict[str, Callable[[NativeModel, str, Observer | None], NativeGraph]] = {
    names.BACKBONE: NativeBackbone,
    names.CODEC_DECODER: NativeDecoder,
    names.CODEC_ENCODER: NativeEncoder,
    names.SPEAKER_PROJECTION: NativeProjection,
}


def open_native_graph(model: NativeModel, name: str, observer: Observer | None) -> Graph:
    """The part called `name`. Raises `UserError` if the bundle was built without it."""
    return _KINDS.get(name, NativeGraph)(model, name, observer)
