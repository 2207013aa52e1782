"""A loaded bundle: the parts that speaking and answering are made of, and what both can do.

In: an engine directory. Out: prompts, decoder and codec, ready to be called, and voices. Calls
share no state. It does not know sentences, nor what a text or a question is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.audio.conditioning import condition_if_spoken
from runtime.audio.sound import convert_sound
from runtime.bundle import names
from runtime.bundle.loading import Bundle, load_bundle
from runtime.bundle.voice_names import voice_names
from runtime.engines.opening import OpenGraph, open_engine
from runtime.engines.rows import Step
from runtime.speech.codec import CodecDecoder, CodecEncoder, DecoderStream
from runtime.speech.decoding import SpeechDecoder
from runtime.speech.prompt import PromptReader
from runtime.speech.spoken import Chunk
from runtime.speech.voice import Voice, resolve_voice


class Loaded:
    """A loaded bundle. One object can serve several threads."""

    def __init__(self, bundle: Bundle, open_graph: OpenGraph, engine: str) -> None:
        """Most callers want `load`.

        open_graph: loads a graph of the bundle by its name. engine: what runs it, for people.
        """
        manifest = bundle.manifest
        self.bundle = bundle
        self.sample_rate = manifest.codec.sample_rate_hz
        self.backbone = open_graph(names.BACKBONE)
        self.decoder = SpeechDecoder(self.backbone, open_graph(manifest.head), manifest)
        self.codec = CodecDecoder(open_graph(names.CODEC_DECODER), manifest.codec)
        aware = manifest.language_model.speaker_aware
        projection = open_graph(names.SPEAKER_PROJECTION) if aware else None
        self.prompts = PromptReader(bundle, projection)
        self._open_graph = open_graph
        self._engine = engine
        self._encoder: CodecEncoder | None = None  # loaded when a recording is first used

    @classmethod
    def load(
        cls,
        path: str | Path,
        run_with: str = "auto",
        threads: int | None = None,
        *,
        backend: str | None = None,
    ) -> Self:
        """Load an engine directory.

        run_with: "auto" takes what the bundle was built for; `runtime.engines.choices` lists the
        others. threads: for each operator on the CPU, at most the processors that the process may
        use; None takes the physical cores, and one thread for graphs too small to share.
        backend: the name of `run_with` in earlier versions.

        Raises:
            UserError: no bundle, a damaged one, one built for something else, or no GPU for it.
        """
        if backend is not None:
            raise UserError(f"backend is called run_with now; give run_with={backend!r}")
        bundle = load_bundle(path)
        open_graph, engine = open_engine(bundle, run_with, threads)
        return cls(bundle, open_graph, engine)

    @property
    def voices(self) -> tuple[str, ...]:
        """Names of the bundle's voices, for `voice=`: the default first, if there is one."""
        return voice_names(self.bundle.manifest)

    def describe(self) -> str:
        """One line for people: the model, its precision, and what runs it."""
        manifest = self.bundle.manifest
        model = manifest.language_model
        kind = f"{model.heads} heads" if model.kind == "mtp" else "next-token"
        precision = manifest.graphs[names.BACKBONE].precision
        return f"{self.bundle.folder.name}: {kind}, {precision}, {self._engine}"

    def speaker(self, voice: Voice = None) -> NDArray[np.float32]:
        """The speaker embedding of a voice: name, .safetensors file, recording or array."""
        return resolve_voice(voice, self.bundle, lambda audio: self._encode(audio)[1])

    def decode(self, frames: NDArray[Any], speaker: NDArray[Any]) -> NDArray[np.float32]:
        """Frames int64 [T, K] and speaker float32 [channels] -> audio float32 [T * hop_samples].

        The speaker need not be the one that the frames were generated or encoded with.
        """
        return self.codec.decode(frames, speaker)

    def encode(
        self, audio: NDArray[Any], sample_rate: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Audio [n] or [n, channels] at any rate -> frames int64 [T, K], speaker float32
        [channels].

        The frames are those of the audio as it is. The speaker is heard from its speech only, at
        one loudness (`runtime.audio.conditioning`); without speech, from all of it, with a
        `SpeechWarning`.

        Raises:
            UserError: unfit audio, or a bundle that was exported without the encoder.
        """
        sound = convert_sound(audio, sample_rate)
        frames, _ = self._encode(sound.at_rate(self.sample_rate))
        return frames, self._encode(condition_if_spoken(sound, self.sample_rate))[1]

    def _encode(self, audio: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if self._encoder is None:
            self._encoder = CodecEncoder(self._open_graph(names.CODEC_ENCODER))
        return self._encoder.encode(audio)


def speak_steps(steps: Iterator[Step], stream: DecoderStream) -> Iterator[Chunk]:
    """One utterance, in chunks as soon as their frames are there."""
    stopped = False
    for step in steps:
        stream.add(step.frames)
        stopped = step.stop
        yield from stream.ready()
    yield from stream.finish(stopped=stopped)


def check_max_steps(max_steps: int | None) -> None:
    """Raises `UserError` if it leaves no step."""
    if max_steps is not None and max_steps < 1:
        raise UserError(f"max_steps is {max_steps}; give 1 or more")


def tighten(bound: int, max_steps: int | None) -> int:
    """The smaller bound on steps."""
    return bound if max_steps is None else min(bound, max_steps)
