"""Question in, answer out, written and then spoken: class `Chat`, whole or streamed.

In: a bundle that was exported with its text head, questions, a voice, sampling settings. Out: the
text of the answer and its speech. Both come out of one sequence: the model writes its answer
(`answer_text`), then speaks it (`decoding`), while its cache holds all that it has read and
written. Each question is independent: nothing is remembered.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from commands.errors import TextWarning, UserError
from runtime.bundle import names
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import ChatSpec, SamplingDefaults
from runtime.engines.rows import Request
from runtime.engines.texts import Text, find_writer
from runtime.speech.answer_text import AnswerWriter
from runtime.speech.codec import DecoderStream, no_frames
from runtime.speech.decoding import bound_steps, check_max_steps, count_steps
from runtime.speech.reading import read_question
from runtime.speech.sampling import Sampling
from runtime.speech.schedule import ChunkSchedule, least_work, soon_heard
from runtime.speech.spoken import Answer, Chunk, join_chunks
from runtime.speech.synthesis import TTS, speak_steps
from runtime.speech.voice import Voice

if TYPE_CHECKING:
    from typing_extensions import Self

GREEDY = Sampling(do_sample=False)


@dataclass(frozen=True)
class _Question:
    """A checked call.

    prompt: float32 [1, positions, hidden_size]. settings, text_settings: completed with the
    bundle's defaults. text_bound: at most so many tokens of text. capacity: positions for the
    question, the text and the speech.
    """

    prompt: NDArray[np.float32]
    speaker: NDArray[np.float32]
    settings: SamplingDefaults
    random: np.random.Generator
    text_settings: SamplingDefaults
    text_random: np.random.Generator
    max_steps: int | None
    text_bound: int
    capacity: int


class Chat:
    """A loaded bundle that answers. It also does all that `TTS` does, under the same names.

    tts: the same bundle as a `TTS`.
    """

    def __init__(self, tts: TTS) -> None:
        """Most callers want `load`."""
        self.tts = tts
        self.bundle, self.sample_rate, self.voices = tts.bundle, tts.sample_rate, tts.voices
        self.prompts, self.decoder, self.codec = tts.prompts, tts.decoder, tts.codec
        self.synthesize, self.stream, self.split = tts.synthesize, tts.stream, tts.split
        self.speaker, self.encode, self.decode = tts.speaker, tts.encode, tts.decode
        self.describe = tts.describe
        self._spec = _chat_spec(tts.bundle)
        self._writer = _open_writer(tts, self._spec)

    @classmethod
    def load(
        cls,
        path: str | Path,
        run_with: str = "auto",
        threads: int | None = None,
        *,
        backend: str | None = None,
    ) -> Self:
        """Load a bundle, as `TTS.load` does.

        Raises:
            UserError: as `TTS.load`, or the bundle has no text head.
        """
        return cls(TTS.load(path, run_with, threads, backend=backend))

    def answer(
        self,
        question: str,
        *,
        voice: Voice = None,
        sampling: Sampling | None = None,
        text_sampling: Sampling = GREEDY,
        max_steps: int | None = None,
        strict: bool = False,
    ) -> Answer:
        """Answer one question.

        sampling: of the speech, as in `TTS.synthesize`. text_sampling: of the text; the default
        always picks the most likely token. max_steps: at most so many steps of speech. strict:
        refuse a question if the model cannot read one of its characters. Otherwise a `TextWarning`
        names them.

        Raises:
            UserError: a question that cannot be asked, an unfit voice, settings out of range.
        """
        pieces = list(
            self.stream_answer(
                question,
                voice=voice,
                sampling=sampling,
                text_sampling=text_sampling,
                max_steps=max_steps,
                schedule=least_work(self.bundle.manifest.codec),
                strict=strict,
            )
        )
        spoken = join_chunks([self._silence(), *(p for p in pieces if isinstance(p, Chunk))])
        text = "".join(piece for piece in pieces if isinstance(piece, str))
        return Answer(spoken.audio, spoken.sample_rate, spoken.frames, spoken.finished, text)

    def stream_answer(
        self,
        question: str,
        *,
        voice: Voice = None,
        sampling: Sampling | None = None,
        text_sampling: Sampling = GREEDY,
        max_steps: int | None = None,
        schedule: ChunkSchedule | None = None,
        strict: bool = False,
    ) -> Generator[str | Chunk, None, None]:
        """The same answer in pieces: strings while it is written, chunks while it is spoken.

        Closing the iterator ends the work. Mistakes in the arguments are raised by this call,
        not by the first piece.
        """
        read_question(question, self.prompts, strict=strict)
        check_max_steps(max_steps)
        defaults, sampling = self.bundle.manifest.sampling, sampling or Sampling()
        settings, text_settings = sampling.resolve(defaults), text_sampling.resolve(defaults)
        speaker = self.speaker(voice)
        prompt = self.prompts.embed_question(question, self._spec, speaker)
        asked = _Question(
            prompt,
            speaker,
            settings,
            sampling.random_generator(0),
            text_settings,
            text_sampling.random_generator(0),
            max_steps,
            *self._bounds(prompt.shape[1]),
        )
        schedule = schedule or soon_heard(self.bundle.manifest.codec)
        self.codec.check_schedule(schedule)
        return self._stream_answer(asked, schedule)

    def _bounds(self, positions: int) -> tuple[int, int]:
        """How many tokens may be written, and how many positions all of it may take."""
        most = self.bundle.manifest.language_model.max_positions
        room = most - positions - 1
        if room < 1:
            raise UserError(
                f"the question takes {positions} of {most} positions and leaves no room for an "
                "answer; shorten it"
            )
        tokens = min(self._spec.max_tokens, room)
        steps = count_steps(self.bundle.manifest, tokens)
        return tokens, min(most, positions + tokens + steps)

    def _stream_answer(
        self, asked: _Question, schedule: ChunkSchedule
    ) -> Generator[str | Chunk, None, None]:
        tokens, text = yield from self._writer.write(
            asked.prompt,
            asked.text_settings,
            asked.text_random,
            asked.text_bound,
            asked.capacity,
        )
        if tokens[-1] == self._spec.speech_start_id:
            yield from self._speak_answer(asked, tokens, text, schedule)
        elif tokens[-1] != self._spec.text_end_id:
            if self._writer.is_end(tokens[-1]):
                warnings.warn(_CODES_AS_TEXT, TextWarning, stacklevel=2)
            yield self._silence(finished=False)

    def _speak_answer(
        self, asked: _Question, tokens: list[int], text: Text, schedule: ChunkSchedule
    ) -> Iterator[Chunk]:
        manifest = self.bundle.manifest
        bound = bound_steps(manifest, len(tokens), text.length + 1, asked.max_steps)
        prompt = self.prompts.embed_token(tokens[-1])
        request = Request(prompt, asked.settings, asked.random, bound)
        steps = self.decoder.steps(request, text)
        return speak_steps(steps, DecoderStream(self.codec, asked.speaker, schedule))

    def _silence(self, *, finished: bool = True) -> Chunk:
        """A chunk without samples."""
        frames = no_frames(self.bundle.manifest.codec)
        return Chunk(np.zeros(0, np.float32), self.sample_rate, frames, finished)


def _open_writer(tts: TTS, spec: ChatSpec) -> AnswerWriter:
    begin = find_writer(tts.backbone, tts.open_graph(names.TEXT_HEAD))
    if begin is None:
        raise UserError(
            f"{tts.bundle.folder}: answers need ONNX Runtime or the native engine, which this "
            "bundle was not built for; export it without --target"
        )
    return AnswerWriter(begin, tts.prompts, spec)


def _chat_spec(bundle: Bundle) -> ChatSpec:
    if bundle.manifest.chat is None:
        raise UserError(
            f"{bundle.folder}: cannot answer: it was exported without its text head. Export a "
            "model that was trained on questions, such as samples/demo_chat/6-heads: python -m "
            "export.build --model DIR --codec DIR --text-head --output DIR. Others, such as the "
            "demo voice, never learnt to write (docs/chat.md)"
        )
    return bundle.manifest.chat


_CODES_AS_TEXT = (
    "the model wrote speech codes in the middle of its text, so the text ends there; "
    "export the engine again"
)
