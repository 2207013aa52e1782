"""Text to speech from a bundle: class `TTS`, whole or streamed.

In: a bundle, a text, a voice, sampling settings. Out: audio and the frames behind it. A text takes
this way: `reading` (sentences and token ids), `prompt` (embeddings), `decoding` (frames), `codec`
(audio). This module does not know how graphs are run (`runtime.engines`) or how sound is played.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.bundle import names
from runtime.bundle.loading import Bundle, load_bundle
from runtime.bundle.manifest import SamplingDefaults
from runtime.bundle.voice_names import voice_names
from runtime.engines.opening import OpenGraph, open_engine
from runtime.engines.rows import Request, Step
from runtime.speech.codec import (
    CodecDecoder,
    CodecEncoder,
    DecoderStream,
    check_speaker,
    no_frames,
)
from runtime.speech.decoding import SpeechDecoder, bound_steps, check_max_steps
from runtime.speech.prompt import PromptReader, ReadSentence
from runtime.speech.reading import read_text, split_text
from runtime.speech.sampling import Sampling
from runtime.speech.schedule import ChunkSchedule, least_work, soon_heard
from runtime.speech.spoken import Chunk, Utterance, join_chunks
from runtime.speech.voice import Voice, resolve_voice

if TYPE_CHECKING:
    from typing_extensions import Self

SENTENCE_PAUSE_SECONDS = 0.2  # silence between the sentences of a text


@dataclass(frozen=True)
class Task:
    """A text that was read and checked: nothing in it can be a user's mistake any more.

    speaker: float32 [speaker_channels]. settings: of `sampling`, completed with the bundle's
    defaults. first: how many sentences of the same text were spoken in tasks before this one: a
    seed gives each sentence the samples that it has in the whole text.
    """

    sentences: list[ReadSentence]
    speaker: NDArray[np.float32]
    sampling: Sampling
    settings: SamplingDefaults
    max_steps: int | None
    first: int = 0


class TTS:
    """A loaded bundle that speaks. Calls share no state: one object can serve several threads.

    bundle: the files and their manifest. sample_rate: of the audio, in Hz. The parts are public for
    callers who speak several texts side by side: prompts (sentences become embeddings), decoder
    (embeddings become frames), codec (frames become audio), backbone (its graph) and open_graph.
    """

    def __init__(self, bundle: Bundle, open_graph: OpenGraph, engine: str) -> None:
        """Most callers want `load`.

        open_graph: loads a graph of the bundle by its name. engine: what runs the graphs, in words.
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
        self.open_graph = open_graph
        self._engine = engine
        self._encoder: CodecEncoder | None = None  # loaded when a recording is first used
        self._encoder_is_loaded_once = threading.Lock()

    @classmethod
    def load(
        cls,
        path: str | Path,
        run_with: str = "auto",
        threads: int | None = None,
        *,
        map_weights: bool = False,
        backend: str | None = None,
    ) -> Self:
        """Load a bundle.

        path: its directory. run_with: the engine; "auto" takes what the bundle was built for,
        `runtime.engines.choices` lists the others. threads: for each operator on the CPU, at most
        the processors that the process may use; None takes the physical cores, and one thread for
        graphs too small to share. map_weights: processes share one copy of a native bundle's
        weights; other bundles are refused. backend: the name of `run_with` in earlier versions.

        Raises:
            UserError: no bundle, a damaged one, one for another engine, or no GPU.
        """
        if backend is not None:
            raise UserError(f"backend is called run_with now; give run_with={backend!r}")
        bundle = load_bundle(path)
        open_graph, engine = open_engine(bundle, run_with, threads, map_weights=map_weights)
        return cls(bundle, open_graph, engine)

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

        The text is spoken sentence by sentence, with `SENTENCE_PAUSE_SECONDS` between them; a
        single sentence goes into the prompt unchanged. max_steps: at most so many steps for each
        sentence, if its length does not allow fewer. strict: refuse a text if the voice cannot
        read a part of it. Otherwise that part is skipped, with a `TextWarning`.

        Raises:
            UserError: text that cannot be spoken, an unfit voice, settings out of range.
        """
        task = self.prepare(text, voice, sampling, max_steps, strict)
        schedule = least_work(self.bundle.manifest.codec)
        return join_chunks([*self._speak(task, schedule, is_awaited=False)])

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

        The rest is still being made while chunks come out. Closing the iterator ends the work.
        Joined chunks equal `synthesize(...)`, whatever their sizes. A schedule's `look_ahead` lets
        the first one out sooner and estimates its end. Mistakes in the arguments are raised by this
        call, not by the first chunk.
        """
        task = self.prepare(text, voice, sampling, max_steps, strict)
        schedule = schedule or soon_heard(self.bundle.manifest.codec)
        self.codec.check_schedule(schedule)
        return self._speak(task, schedule, is_awaited=True)

    def prepare(
        self,
        text: str,
        voice: Voice = None,
        sampling: Sampling | None = None,
        max_steps: int | None = None,
        strict: bool = False,
    ) -> Task:
        """Read and check what `synthesize` and `stream` are given, without speaking it.

        Raises:
            UserError: as `synthesize` does.
        """
        check_max_steps(max_steps)
        sampling = sampling or Sampling()
        settings = sampling.resolve(self.bundle.manifest.sampling)
        sentences = read_text(text, self.prompts, strict=strict)
        return Task(sentences, self.speaker(voice), sampling, settings, max_steps)

    def request(self, task: Task, index: int) -> Request:
        """What decodes the sentence `index` of a task."""
        read = task.sentences[index]
        prompt = self.prompts.embed(read, task.speaker)
        bound = bound_steps(self.bundle.manifest, read.text_tokens, prompt.shape[1], task.max_steps)
        random = task.sampling.random_generator(task.first + index)
        return Request(prompt, task.settings, random, bound)

    def pause(self, sentence: int, sentences: int) -> Chunk:
        """The silence before a sentence, counted from 1."""
        silence = np.zeros(round(SENTENCE_PAUSE_SECONDS * self.sample_rate), np.float32)
        frames = no_frames(self.bundle.manifest.codec)
        return Chunk(silence, self.sample_rate, frames, sentence=sentence, sentences=sentences)

    def split(self, text: str) -> list[str]:
        """The sentences that `text` is spoken in. A single sentence is returned unchanged."""
        return [read.source for read in split_text(text, self.prompts) if read.ids]

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

        Any speaker will do, also another than the frames were made with.
        """
        return self.codec.decode(frames, speaker)

    def encode(
        self, audio: NDArray[Any], sample_rate: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Audio [n] or [n, channels] at any rate -> frames int64 [T, K], speaker float32
        [channels].

        The frames are made of the whole audio, unchanged. The speaker is made of the speech in it,
        at one loudness (`runtime.audio.conditioning`). Audio without speech is taken whole, with a
        `SpeechWarning`.

        Raises:
            UserError: unfit audio, or a bundle that was exported without the encoder.
        """
        from runtime.audio.conditioning import condition_if_spoken  # recordings are rare
        from runtime.audio.sound import convert_sound

        sound = convert_sound(audio, sample_rate)
        frames, _ = self._encode(sound.at_rate(self.sample_rate))
        return frames, self._encode(condition_if_spoken(sound, self.sample_rate))[1]

    def speaker_of_speech(self, speech: NDArray[np.float32]) -> NDArray[np.float32]:
        """The speaker embedding of what `runtime.audio.conditioning.condition_speech` returned.

        Raises:
            UserError: unfit speech, or a bundle that was exported without the encoder.
        """
        channels = self.bundle.manifest.codec.speaker_channels
        return check_speaker(self._encode(speech)[1], channels)

    def _encode(self, audio: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        with self._encoder_is_loaded_once:
            if self._encoder is None:
                self._encoder = CodecEncoder(self.open_graph(names.CODEC_ENCODER))
        return self._encoder.encode(audio)

    def _speak(
        self, task: Task, schedule: ChunkSchedule, *, is_awaited: bool
    ) -> Generator[Chunk, None, None]:
        """All sentences, with pauses between them.

        is_awaited: somebody waits for the chunks. Otherwise all steps of a sentence come before its
        chunks, because models that take turns push each other out of the processor's caches.
        """
        count = len(task.sentences)
        for number in range(1, count + 1):
            if number > 1:
                yield self.pause(number, count)
                schedule = replace(schedule, look_ahead=None)  # nobody waits for their first audio
            steps = self.decoder.steps(self.request(task, number - 1))
            yield from speak_steps(
                steps if is_awaited else iter([*steps]),
                DecoderStream(self.codec, task.speaker, schedule, number, count),
            )


def speak_steps(steps: Iterator[Step], stream: DecoderStream) -> Iterator[Chunk]:
    """Decode frames to audio while the steps bring them; one sentence or answer."""
    stopped = False
    for step in steps:
        stream.add(step.frames)
        stopped = step.stop
        yield from stream.ready()
    yield from stream.finish(stopped=stopped)
