"""Question in, answer out, written and then spoken: class `Chat`, whole or streamed.

In: an engine directory that was exported with its text head, questions, a voice, sampling
settings. Out: the answer's text and its speech. Both come out of one sequence: the model writes
its answer, then speaks it with all that it has read and written still in its cache. Each question
stands for itself; nothing is remembered from one to the next.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commands.errors import TextWarning, UserError
from runtime.bundle import names
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import ChatSpec, SamplingDefaults
from runtime.engines.graph import BindableGraph
from runtime.engines.host_rows import Context
from runtime.engines.opening import OpenGraph
from runtime.engines.rows import Request
from runtime.speech.codec import DecoderStream, no_frames
from runtime.speech.decoding import bound_steps, count_steps
from runtime.speech.loaded import check_max_steps, speak_steps, tighten
from runtime.speech.reading import read_question
from runtime.speech.sampling import Sampling
from runtime.speech.schedule import ChunkSchedule, least_work, soon_heard
from runtime.speech.spoken import Answer, Chunk, join_chunks
from runtime.speech.synthesis import TTS
from runtime.speech.text_decoding import TextDecoder
from runtime.speech.voice import Voice

GREEDY = Sampling(do_sample=False)


@dataclass(frozen=True)
class _Question:
    """A checked call.

    prompt: float32 [1, positions, hidden_size]. settings: with the bundle's defaults for what was
    left out. text_bound and capacity count tokens and positions.
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


class Chat(TTS):
    """A loaded bundle that answers. It also speaks texts, as `TTS` does."""

    def __init__(self, bundle: Bundle, open_graph: OpenGraph, engine: str) -> None:
        super().__init__(bundle, open_graph, engine)
        self._spec = _chat_spec(bundle)
        text_head = open_graph(names.TEXT_HEAD)
        if not (isinstance(self.backbone, BindableGraph) and isinstance(text_head, BindableGraph)):
            raise UserError(
                f"{bundle.folder}: answers need ONNX Runtime, which this engine was not built for; "
                "export it without --target"
            )
        self._writer = TextDecoder(self.backbone, text_head, self.prompts.embed_token)
        # A text head that was exported before it could not draw them may draw codes as text.
        speech = self.prompts.find_speech_tokens()
        self._text_ends = speech | {self._spec.speech_start_id, self._spec.text_end_id}

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

        sampling: of the speech, as in `TTS.synthesize`. text_sampling: of the text; by default the
        likeliest one is written. max_steps bounds the steps of the speech. Characters of the
        question that the model cannot read are named in a `TextWarning`, or refused if `strict`.

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
        prompt = self.prompts.ask(question, self._spec, speaker)
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
        return self._stream_answer(asked, schedule or soon_heard(self.bundle.manifest.codec))

    def _bounds(self, positions: int) -> tuple[int, int]:
        """The most tokens that may be written, and positions for them and their speech."""
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
        tokens: list[int] = []
        context = yield from self._write(asked, tokens)
        if tokens[-1] == self._spec.speech_start_id:
            yield from self._speak_answer(asked, tokens, context, schedule)
        elif tokens[-1] != self._spec.text_end_id:
            if tokens[-1] in self._text_ends:
                warnings.warn(_CODES_AS_TEXT, TextWarning, stacklevel=2)
            yield self._silence(finished=False)

    def _write(self, asked: _Question, tokens: list[int]) -> Generator[str, None, Context]:
        """Yield the answer's text; leaves in `tokens` all that was written, its end included."""
        ends = self._text_ends
        writing = self._writer.write(
            asked.prompt,
            asked.text_settings,
            asked.text_random,
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
            text = self.prompts.spell(tokens[:-1] if ended else tokens)
            is_whole = ended or len(tokens) == asked.text_bound
            text = answer_in(text, self._spec, is_whole=is_whole)
            if len(text) > len(told):
                yield text[len(told) :]
                told = text

    def _speak_answer(
        self, asked: _Question, tokens: list[int], context: Context, schedule: ChunkSchedule
    ) -> Iterator[Chunk]:
        bound = bound_steps(self.bundle.manifest, len(tokens), context.length + 1)
        request = Request(
            self.prompts.embed_token(tokens[-1]),
            asked.settings,
            asked.random,
            tighten(bound, asked.max_steps),
        )
        steps = self.decoder.steps(request, context)
        return speak_steps(steps, DecoderStream(self.codec, asked.speaker, schedule))

    def _silence(self, *, finished: bool = True) -> Chunk:
        """A chunk without samples."""
        frames = no_frames(self.bundle.manifest.codec)
        return Chunk(np.zeros(0, np.float32), self.sample_rate, frames, finished)


def answer_in(written: str, spec: ChatSpec, *, is_whole: bool) -> str:
    """The answer in what a model wrote, without what the template puts around it.

    If the text is still being written, only the part that more text cannot change.
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
