"""Question in, answer out, written and then spoken: class `Chat`, whole or streamed.

In: an engine directory that was exported with its text head, questions, a voice, sampling
settings. Out: the answer's text and its speech. Both come out of one sequence: the model writes
its answer, then speaks it with what it has read and written still in its cache. Each question
stands for itself; nothing is remembered from one to the next.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commands.errors import TextWarning, UserError
from runtime.audio.sound import write_wav
from runtime.bundle import names
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import ChatSpec
from runtime.engines.graph import BindableGraph
from runtime.speech.codec import WHOLE_UTTERANCE, ChunkSchedule, DecoderStream
from runtime.speech.decoding import Context, bound_steps, count_steps
from runtime.speech.prompt import Prompt
from runtime.speech.reading import read_question
from runtime.speech.sampling import Sampling
from runtime.speech.synthesis import TTS, Chunk, OpenGraph
from runtime.speech.text_decoding import TextDecoder
from runtime.speech.voice import Voice

GREEDY = Sampling(do_sample=False)


@dataclass(frozen=True)
class Answer:
    """text: what the model wrote; audio: float32 [n], the same spoken; frames: int64 [T, 3].

    Models may answer in text alone: then there are no samples. finished: False if a bound cut
    the text or the speech before the model ended it.
    """

    text: str
    audio: NDArray[np.float32]
    sample_rate: int
    frames: NDArray[np.int64]
    finished: bool

    def save(self, path: str | Path) -> None:
        """Write the speech as a 16-bit WAV; the file appears whole or not at all.

        Raises:
            UserError: a file name that does not end in .wav, or no such folder.
        """
        write_wav(path, self.audio, self.sample_rate)


@dataclass(frozen=True)
class _Question:
    """A checked call. `text_bound` and `capacity` count tokens and positions."""

    prompt: Prompt
    speaker: NDArray[np.float32]
    sampling: Sampling
    text_sampling: Sampling
    max_steps: int | None
    text_bound: int
    capacity: int


class Chat(TTS):
    """A loaded bundle that answers; it speaks texts as `TTS` does, too."""

    def __init__(self, bundle: Bundle, open_graph: OpenGraph, engine: str) -> None:
        super().__init__(bundle, open_graph, engine)
        self._spec = _chat_spec(bundle)
        text_head = open_graph(names.TEXT_HEAD)
        if not (isinstance(self._backbone, BindableGraph) and isinstance(text_head, BindableGraph)):
            raise UserError(
                f"{bundle.folder}: answers need ONNX Runtime, which this engine was not built for; "
                "export it without --target"
            )
        self._writer = TextDecoder(self._backbone, text_head, self._prompts.embed_token)
        spec = self._spec
        # A text head that was exported before it could not draw them may draw codes as text.
        speech = self._prompts.find_speech_tokens()
        self._text_ends = speech | {spec.speech_start_id, spec.text_end_id}

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

        sampling: of the speech, as in `TTS.synthesize`. text_sampling: of the text, which by
        default is the likeliest one. max_steps bounds the steps of the speech. Characters of the
        question that the model cannot read are told by a `TextWarning`, or refused if `strict`.

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
                schedule=WHOLE_UTTERANCE,
                strict=strict,
            )
        )
        chunks = [piece for piece in pieces if isinstance(piece, Chunk)]
        return Answer(
            text="".join(piece for piece in pieces if isinstance(piece, str)),
            audio=np.concatenate([_SILENCE, *(chunk.audio for chunk in chunks)]),
            sample_rate=self.sample_rate,
            frames=np.concatenate([_NO_FRAMES, *(chunk.frames for chunk in chunks)]),
            finished=all(chunk.finished for chunk in chunks),
        )

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
        read_question(question, self._prompts, strict=strict)
        self._check_sampling(sampling, max_steps)
        text_sampling.resolve(self.bundle.manifest.sampling)
        speaker = self.speaker(voice)
        prompt = self._prompts.ask(question, self._spec, speaker)
        bounds = self._bounds(prompt)
        asked = _Question(
            prompt, speaker, sampling or Sampling(), text_sampling, max_steps, *bounds
        )
        return self._stream_answer(asked, schedule or ChunkSchedule())

    def _bounds(self, prompt: Prompt) -> tuple[int, int]:
        """The most tokens that may be written, and positions for them and their speech."""
        manifest = self.bundle.manifest
        positions, most = prompt.embeddings.shape[1], manifest.language_model.max_positions
        room = most - positions - 1
        if room < 1:
            raise UserError(
                f"the question takes {positions} of {most} positions and leaves no room for an "
                "answer; shorten it"
            )
        tokens = min(self._spec.max_tokens, room)
        steps = count_steps(manifest.language_model, manifest.length, tokens)
        return tokens, min(most, positions + tokens + steps)

    def _stream_answer(
        self, asked: _Question, schedule: ChunkSchedule
    ) -> Generator[str | Chunk, None, None]:
        tokens: list[int] = []
        context = yield from self._write(asked, tokens)
        if tokens[-1] == self._spec.speech_start_id:
            yield from self._speak(asked, tokens, context, schedule)
        elif tokens[-1] != self._spec.text_end_id:
            if tokens[-1] in self._text_ends:
                warnings.warn(_CODES_AS_TEXT, TextWarning, stacklevel=2)
            yield Chunk(_SILENCE, self.sample_rate, _NO_FRAMES, finished=False)

    def _write(self, asked: _Question, tokens: list[int]) -> Generator[str, None, Context]:
        """Yield the answer's text; leaves in `tokens` all that was written, its end included."""
        ends = self._text_ends
        writing = self._writer.write(
            asked.prompt.embeddings,
            asked.text_sampling.resolve(self.bundle.manifest.sampling),
            asked.text_sampling.random_generator(0),
            ends,
            asked.text_bound,
            asked.capacity,
        )
        told = ""
        while True:
            try:
                tokens.append(next(writing))
            except StopIteration as finished:
                context: Context = finished.value
                return context
            ended = tokens[-1] in ends
            text = self._prompts.spell(tokens[:-1] if ended else tokens)
            is_whole = ended or len(tokens) == asked.text_bound
            text = answer_in(text, self._spec, is_whole=is_whole)
            if len(text) > len(told):
                yield text[len(told) :]
                told = text

    def _speak(
        self, asked: _Question, tokens: list[int], context: Context, schedule: ChunkSchedule
    ) -> Iterator[Chunk]:
        manifest = self.bundle.manifest
        bound = bound_steps(
            manifest.language_model, manifest.length, len(tokens), context.length + 1
        )
        steps = self._decoder.steps(
            self._prompts.embed_token(tokens[-1]),
            asked.sampling.resolve(manifest.sampling),
            asked.sampling.random_generator(0),
            bound if asked.max_steps is None else min(bound, asked.max_steps),
            context,
        )
        return self._chunks(steps, DecoderStream(self._codec, asked.speaker, schedule))


def answer_in(written: str, spec: ChatSpec, *, is_whole: bool) -> str:
    """The answer in what a model wrote, without what the template puts around it.

    Of a text that is still being written, this is the part that more text cannot change.
    """
    text = written.removeprefix(spec.before_answer)
    if is_whole:
        return text.removesuffix(spec.after_answer).rstrip()
    if spec.before_answer.startswith(written):
        return ""
    text = text.removesuffix("\N{REPLACEMENT CHARACTER}")  # the first bytes of a character
    begun = (spec.after_answer[:length] for length in range(len(spec.after_answer), 0, -1))
    return text.removesuffix(next((end for end in begun if text.endswith(end)), "")).rstrip()


def _chat_spec(bundle: Bundle) -> ChatSpec:
    if bundle.manifest.chat is None:
        raise UserError(
            f"{bundle.folder}: cannot answer: it was exported without its text head. A model that "
            "was trained on questions, as samples/demo_chat/6-heads is, is exported with: python "
            "-m export.build --model DIR --codec DIR --text-head --output DIR; others, as the demo "
            "voice, never learnt to write (docs/chat.md)"
        )
    return bundle.manifest.chat


_CODES_AS_TEXT = (
    "the model wrote speech codes where its text should go on, so the text ends there; "
    "export the engine again"
)
_SILENCE = np.zeros(0, np.float32)
_NO_FRAMES = np.zeros((0, 3), np.int64)
