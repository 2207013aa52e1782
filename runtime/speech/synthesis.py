"""Text to speech from a bundle: class `TTS`, whole or streamed.

In: an engine directory, text, a voice, sampling settings. Out: audio and the frames behind it.
This is where the parts meet: sentences, prompts, the step loop and the codec. It does not know
how graphs are run (`runtime.sessions`) or files are written.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.audio.conditioning import condition_if_spoken
from runtime.audio.sound import convert_sound, write_wav
from runtime.bundle import names
from runtime.bundle.loading import Bundle, load_bundle
from runtime.bundle.voice_names import voice_names
from runtime.engines.opening import OpenGraph, open_engine
from runtime.speech.codec import ChunkSchedule, CodecDecoder, CodecEncoder, DecoderStream
from runtime.speech.decoding import SpeechDecoder, Step, bound_steps
from runtime.speech.prompt import PromptReader, ReadSentence
from runtime.speech.reading import read_text, split_text
from runtime.speech.sampling import Sampling
from runtime.speech.voice import Voice, resolve_voice

SENTENCE_PAUSE_SECONDS = 0.2  # silence between the utterances of a long text


@dataclass(frozen=True)
class _Request:
    """A checked call: everything that a user can get wrong has been looked at."""

    sentences: list[ReadSentence]
    speaker: NDArray[np.float32]
    sampling: Sampling
    max_steps: int | None


@dataclass(frozen=True)
class Utterance:
    """Speech. audio: float32 [n]; frames: int64 [T, 3] (a, b, c), pauses have none;
    finished: False if a bound on steps cut an utterance before the model ended it."""

    audio: NDArray[np.float32]
    sample_rate: int
    frames: NDArray[np.int64]
    finished: bool

    def save(self, path: str | Path) -> None:
        """Write the audio as a 16-bit WAV; the file appears whole or not at all.

        Raises:
            UserError: a file name that does not end in .wav, or no such folder.
        """
        write_wav(path, self.audio, self.sample_rate)


@dataclass(frozen=True)
class Chunk:
    """A piece of speech, ready to be played. Fields as in `Utterance`; `finished` is False only
    for a chunk that ends an utterance which a bound cut. sentence: which one it belongs to, from 1;
    a pause belongs to the sentence after it. sentences: how many the text has."""

    audio: NDArray[np.float32]
    sample_rate: int
    frames: NDArray[np.int64]
    finished: bool = True
    sentence: int = 1
    sentences: int = 1


class TTS:
    """A loaded bundle. Calls share no state, so one object can serve several threads."""

    def __init__(self, bundle: Bundle, open_graph: OpenGraph, engine: str) -> None:
        """Most callers want `TTS.load`.

        open_graph: loads a graph of the bundle by its name. engine: what runs it, for people.
        """
        manifest = bundle.manifest
        self.bundle = bundle
        self.sample_rate = manifest.codec.sample_rate_hz
        self._backbone = open_graph(names.BACKBONE)
        self._decoder = SpeechDecoder(self._backbone, open_graph(manifest.head))
        self._codec = CodecDecoder(open_graph(names.CODEC_DECODER), manifest.codec)
        aware = manifest.language_model.speaker_aware
        self._prompts = PromptReader(
            bundle, open_graph(names.SPEAKER_PROJECTION) if aware else None
        )
        self._open_graph = open_graph
        self._engine = engine
        self._encoder: CodecEncoder | None = None  # loaded when a recording is first used

    @classmethod
    def load(cls, path: str | Path, backend: str = "auto", threads: int | None = None) -> Self:
        """Load an engine directory.

        backend: "auto" takes what the bundle was built for; `runtime.engines.opening` lists the
        others. threads: for each operator on the CPU, bounded by the processors that the process
        may use; None takes the physical cores, and one thread for graphs too small to share.

        Raises:
            UserError: no bundle, a damaged one, one for another backend, or no GPU for it.
        """
        bundle = load_bundle(path)
        open_graph, engine = open_engine(bundle, backend, threads)
        return cls(bundle, open_graph, engine)

    @property
    def voices(self) -> tuple[str, ...]:
        """Names of the bundle's voices, for `voice=`: the default first, if there is one."""
        return voice_names(self.bundle.manifest)

    def synthesize(
        self,
        text: str,
        *,
        voice: Voice = None,
        sampling: Sampling | None = None,
        max_steps: int | None = None,
        strict: bool = False,
    ) -> Utterance:
        """Speak `text`.

        One sentence is one utterance and goes into the prompt as it is; longer text is spoken
        sentence by sentence with `SENTENCE_PAUSE_SECONDS` between. max_steps bounds the steps of
        each utterance below what the text's length allows. What the voice cannot read is skipped
        with a `TextWarning`, or refused if `strict`.

        Raises:
            UserError: text that cannot be spoken, an unfit voice, settings out of range.
        """
        request = self._check(text, voice, sampling, max_steps, strict)
        audio: list[NDArray[np.float32]] = []
        all_frames: list[NDArray[np.int64]] = []
        finished = True
        for index in range(len(request.sentences)):
            steps = list(self._steps(request, index))
            frames = np.concatenate([step.frames for step in steps])
            audio += [self._pause()] if index else []
            audio.append(self._codec.decode(frames, request.speaker))
            all_frames.append(frames)
            finished = finished and steps[-1].stop
        return Utterance(
            np.concatenate(audio), self.sample_rate, np.concatenate(all_frames), finished
        )

    def stream(
        self,
        text: str,
        *,
        voice: Voice = None,
        sampling: Sampling | None = None,
        max_steps: int | None = None,
        schedule: ChunkSchedule | None = None,
        strict: bool = False,
    ) -> Generator[Chunk, None, None]:
        """The same speech in chunks, each as soon as its frames are there.

        Frames are still being generated while chunks come out; closing the iterator ends the
        work. Joined chunks equal `synthesize(...)`, whatever the schedule. Mistakes in the
        arguments are raised by this call, not by the first chunk.
        """
        request = self._check(text, voice, sampling, max_steps, strict)
        return self._stream(request, schedule or ChunkSchedule())

    def describe(self) -> str:
        """One line for people: the model, its precision, and what runs it."""
        manifest = self.bundle.manifest
        model = manifest.language_model
        kind = f"{model.heads} heads" if model.kind == "mtp" else "next-token"
        precision = manifest.graphs[names.BACKBONE].precision
        return f"{self.bundle.folder.name}: {kind}, {precision}, {self._engine}"

    def decode(self, frames: NDArray[Any], speaker: NDArray[Any]) -> NDArray[np.float32]:
        """Frames int64 [T, 3] and speaker float32 [256] -> audio float32 [T * hop_samples].

        The speaker need not be the one that the frames were generated or encoded with.
        """
        return self._codec.decode(frames, speaker)

    def encode(
        self, audio: NDArray[Any], sample_rate: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Audio [n] or [n, channels] at any rate -> frames int64 [T, 3], speaker float32 [256].

        The frames are those of the audio as it is. The speaker is heard from its speech alone, at
        one loudness (`runtime.audio.conditioning`); without speech, from all of it, with a
        `SpeechWarning`.

        Raises:
            UserError: unfit audio, or a bundle that was exported without the encoder.
        """
        sound = convert_sound(audio, sample_rate)
        frames, _ = self._encode(sound.at_rate(self.sample_rate))
        return frames, self._encode(condition_if_spoken(sound, self.sample_rate))[1]

    def speaker(self, voice: Voice = None) -> NDArray[np.float32]:
        """The speaker embedding of a voice: name, .safetensors file, recording or array."""
        return resolve_voice(voice, self.bundle, lambda audio: self._encode(audio)[1])

    def split(self, text: str) -> list[str]:
        """The utterances that `text` will be spoken as; a single sentence is returned unchanged."""
        return [read.source for read in split_text(text, self._prompts) if read.ids]

    def _encode(self, audio: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if self._encoder is None:
            self._encoder = CodecEncoder(self._open_graph(names.CODEC_ENCODER))
        return self._encoder.encode(audio)

    def _check(
        self,
        text: str,
        voice: Voice,
        sampling: Sampling | None,
        max_steps: int | None,
        strict: bool,
    ) -> _Request:
        self._check_sampling(sampling, max_steps)
        sentences = read_text(text, self._prompts, strict=strict)
        return _Request(sentences, self.speaker(voice), sampling or Sampling(), max_steps)

    def _check_sampling(self, sampling: Sampling | None, max_steps: int | None) -> None:
        if max_steps is not None and max_steps < 1:
            raise UserError(f"max_steps is {max_steps}; give 1 or more")
        (sampling or Sampling()).resolve(self.bundle.manifest.sampling)

    def _steps(self, request: _Request, index: int) -> Iterator[Step]:
        """Decode the utterance of one sentence."""
        manifest = self.bundle.manifest
        prompt = self._prompts.embed(request.sentences[index], request.speaker)
        bound = bound_steps(
            manifest.language_model, manifest.length, prompt.text_tokens, prompt.embeddings.shape[1]
        )
        return self._decoder.steps(
            prompt.embeddings,
            request.sampling.resolve(manifest.sampling),
            request.sampling.random_generator(index),
            bound if request.max_steps is None else min(bound, request.max_steps),
        )

    def _stream(self, request: _Request, schedule: ChunkSchedule) -> Generator[Chunk, None, None]:
        count = len(request.sentences)
        for index in range(count):
            if index:
                pause = Chunk(self._pause(), self.sample_rate, np.zeros((0, 3), np.int64))
                yield replace(pause, sentence=index + 1, sentences=count)
            stream = DecoderStream(self._codec, request.speaker, schedule)
            for chunk in self._chunks(self._steps(request, index), stream):
                yield replace(chunk, sentence=index + 1, sentences=count)

    def _chunks(self, steps: Iterator[Step], stream: DecoderStream) -> Iterator[Chunk]:
        """One utterance, in chunks as soon as their frames are there."""
        stopped = False
        for step in steps:
            stream.add(step.frames)
            stopped = step.stop
            for chunk in stream.ready():
                yield Chunk(chunk.audio, self.sample_rate, chunk.frames)
        for chunk in stream.finish():
            finished = stopped or not chunk.is_last
            yield Chunk(chunk.audio, self.sample_rate, chunk.frames, finished)

    def _pause(self) -> NDArray[np.float32]:
        return np.zeros(round(SENTENCE_PAUSE_SECONDS * self.sample_rate), np.float32)
