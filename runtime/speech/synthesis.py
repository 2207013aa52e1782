"""Text to speech from a bundle: class `TTS`, whole or streamed.

In: an engine directory, text, a voice, sampling settings. Out: audio and the frames behind it.
This is where the parts meet: sentences, prompts, decoding and the codec. It does not know how
graphs are run (`runtime.engines`) or how sound is played.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.manifest import SamplingDefaults
from runtime.engines.rows import Request, Step
from runtime.speech.codec import DecoderStream, no_frames
from runtime.speech.decoding import bound_steps
from runtime.speech.loaded import Loaded, check_max_steps, speak_steps, tighten
from runtime.speech.prompt import ReadSentence
from runtime.speech.reading import read_text, split_text
from runtime.speech.sampling import Sampling
from runtime.speech.schedule import ChunkSchedule, least_work, soon_heard
from runtime.speech.spoken import Chunk, Utterance, join_chunks
from runtime.speech.voice import Voice

SENTENCE_PAUSE_SECONDS = 0.2  # silence between the utterances of a long text


@dataclass(frozen=True)
class _Task:
    """A checked call: nothing that a user can get wrong is left in it."""

    sentences: list[ReadSentence]
    speaker: NDArray[np.float32]
    sampling: Sampling
    settings: SamplingDefaults  # the same, with the bundle's defaults for what was left out
    max_steps: int | None


class TTS(Loaded):
    """A loaded bundle that speaks. Calls share no state, so one object can serve several
    threads."""

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
        task = self._check(text, voice, sampling, max_steps, strict)
        return join_chunks([*self._speak(task, least_work(self.bundle.manifest.codec))])

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
        task = self._check(text, voice, sampling, max_steps, strict)
        return self._speak(task, schedule or soon_heard(self.bundle.manifest.codec))

    def split(self, text: str) -> list[str]:
        """The utterances that `text` will be spoken as; a single sentence is returned unchanged."""
        return [read.source for read in split_text(text, self.prompts) if read.ids]

    def _check(
        self,
        text: str,
        voice: Voice,
        sampling: Sampling | None,
        max_steps: int | None,
        strict: bool,
    ) -> _Task:
        check_max_steps(max_steps)
        sampling = sampling or Sampling()
        settings = sampling.resolve(self.bundle.manifest.sampling)
        sentences = read_text(text, self.prompts, strict=strict)
        return _Task(sentences, self.speaker(voice), sampling, settings, max_steps)

    def _speak(self, task: _Task, schedule: ChunkSchedule) -> Generator[Chunk, None, None]:
        count = len(task.sentences)
        for number in range(1, count + 1):
            if number > 1:
                yield self._pause(number, count)
            yield from speak_steps(
                self._steps(task, number - 1),
                DecoderStream(self.codec, task.speaker, schedule, number, count),
            )

    def _steps(self, task: _Task, index: int) -> Iterator[Step]:
        """Decode the utterance of one sentence."""
        read = task.sentences[index]
        prompt = self.prompts.embed(read, task.speaker)
        bound = bound_steps(self.bundle.manifest, read.text_tokens, prompt.shape[1])
        request = Request(
            prompt,
            task.settings,
            task.sampling.random_generator(index),
            tighten(bound, task.max_steps),
        )
        return self.decoder.steps(request)

    def _pause(self, sentence: int, sentences: int) -> Chunk:
        """Silence before a sentence."""
        silence = np.zeros(round(SENTENCE_PAUSE_SECONDS * self.sample_rate), np.float32)
        frames = no_frames(self.bundle.manifest.codec)
        return Chunk(silence, self.sample_rate, frames, sentence=sentence, sentences=sentences)
