"""A native bundle under check: what its language model and its codec compute.

In: a folder with a complete bundle, and inputs. Out: arrays like those of `GraphRunner`. The
library is loaded when a bundle is opened. Nothing is compared here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.graph.runner import Arrays
from formats.precisions import CacheFormat
from formats.weights import Array
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import Manifest, SamplingDefaults
from runtime.bundle.names import (
    AUDIO,
    CODEC_DECODER,
    CODEC_ENCODER,
    CODEC_FRAMES,
    SAMPLES,
    SPEAKER,
    SPEAKER_PROJECTION,
    SPEAKER_TOKEN,
)
from runtime.engines.calls import SeriesGraph
from runtime.engines.native import sequences
from runtime.engines.native.graphs import open_native_graph
from runtime.engines.native.model import NativeModel

GREEDY = SamplingDefaults(temperature=1.0, top_k=1, top_p=1.0)


@dataclass(frozen=True)
class Drawn:
    """What one step draws: the codes that are speech, and whether the model stops."""

    codes: tuple[int, ...]
    stop: bool


class NativeEngine:
    """An opened bundle. Raises `UserError` without the library."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self._model = NativeModel(Bundle(folder, manifest), None)

    def describe(self) -> str:
        return self._model.describe()

    @property
    def cache(self) -> CacheFormat:
        return self._model.cache

    def hidden_states(self, embeddings: Array, sizes: Iterable[int]) -> Array:
        """Hidden states (calls, H) after each call; a call reads so many of (1, positions, H)."""
        sequence, found, start = sequences.Sequence(self._model, embeddings.shape[1]), [], 0
        for size in sizes:
            sequence.read(embeddings[:, start : start + size])
            found.append(sequence.hidden())
            start += size
        return np.array(found)

    def draw(
        self,
        embeddings: Array,
        noise: Array,
        sampling: SamplingDefaults = GREEDY,
        steps: int = 1,
    ) -> list[Drawn]:
        """Steps after (1, positions, H), up to the one that stops. noise: (steps, codes)."""
        sequence = sequences.Sequence(self._model, embeddings.shape[1] + steps)
        sequence.read(embeddings)
        row, drawn = sequences.SideBySide(self._model, 1), list[Drawn]()
        row.place(0, sequence, sampling)
        for step in range(steps):
            row.noise[0] = noise[step]
            [(codes, stop)] = row.step(1)
            drawn.append(Drawn(tuple(codes), stop))
            if stop:
                break
        return drawn

    def write(self, embeddings: Array) -> int:
        """The likeliest token of text after (1, positions, H)."""
        sequence = sequences.Sequence(self._model, embeddings.shape[1])
        sequence.read(embeddings)
        return sequence.write(GREEDY, 0.0)

    def project_speaker(self, speaker: Array) -> Array:
        """(1, channels) -> (1, 1, H)."""
        graph = open_native_graph(self._model, SPEAKER_PROJECTION, None)
        return graph.run({SPEAKER: speaker})[SPEAKER_TOKEN]

    def encode(self, audio: Array) -> Arrays:
        """Frames and speaker of (1, samples)."""
        return open_native_graph(self._model, CODEC_ENCODER, None).run({AUDIO: audio})

    def open_decoder(self) -> NativeDecoder:
        graph = open_native_graph(self._model, CODEC_DECODER, None)
        assert isinstance(graph, SeriesGraph)
        return NativeDecoder(graph, self.manifest.codec.hop_samples)


class NativeDecoder:
    """The codec's decoder, called as a `GraphRunner` of the same contract is."""

    def __init__(self, graph: SeriesGraph, hop_samples: int) -> None:
        self._graph, self._hop_samples = graph, hop_samples
        self.spec = graph.spec
        self.reset()

    def reset(self) -> None:
        """Begin another utterance."""
        self._calls = self._graph.open_calls()

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        """One call."""
        samples = inputs[CODEC_FRAMES].shape[1] * self._hop_samples
        return self._calls.start(inputs, {SAMPLES: samples}).result()
