"""Speaks sentences one after another, so that they sound as the whole text would.

In: sentences. Out: the bytes of a sound file for each. Between sentences of an utterance there is
the same silence as in a whole text, and a seed gives the same samples. Once a listener hears an
utterance, its next sentences are not refused, whatever else waits.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from runtime.scheduling.speech import Speech, SpeechFailed
from runtime.serving.encoded_speech import EncodedSpeech
from runtime.serving.encoding import Samples
from runtime.serving.errors import REFUSED
from runtime.serving.growing.sentences import Sentence
from runtime.serving.metrics import Metrics, Playback
from runtime.serving.speaking import Speaking
from runtime.serving.speech_routes import make_encoder

# Why a sentence is not spoken, or not to its end; the next one may be.
REFUSALS = (*REFUSED, SpeechFailed)


class Narrator:
    """Of one caller."""

    def __init__(self, speaking: Speaking, metrics: Metrics) -> None:
        self._speaking, self._metrics = speaking, metrics
        self._utterance = -1
        self._spoken = 0  # sentences of the utterance, as the model counts them

    async def parts(self, sentence: Sentence) -> AsyncGenerator[bytes, None]:
        """Pieces of the file, none of them empty, as they are made. Close it (`aclosing`): that
        ends the work for what is left.

        Raises:
            REFUSALS: it is not spoken, or not to its end.
        """
        if sentence.utterance != self._utterance:
            self._utterance, self._spoken = sentence.utterance, 0
        playback = Playback()
        encoder = make_encoder(sentence.request, self._speaking)
        speech = await self._begin(sentence)
        try:
            encoded = EncodedSpeech(self._speaking, speech, encoder, playback)
            async with aclosing(encoded.parts(self._pause(speech))) as parts:
                async for part in parts:
                    yield part
        finally:
            speech.cancel()
        self._metrics.add_speech(speech, playback)

    async def _begin(self, sentence: Sentence) -> Speech:
        request = sentence.request
        speech = await self._speaking.begin(
            sentence.text,
            request.voice_name,
            request.seed,
            is_whole=request.is_whole,
            follows=self._spoken > 0,
            first=self._spoken,
        )
        self._spoken += len(speech.order.task.sentences)
        return speech

    def _pause(self, speech: Speech) -> Samples | None:
        """The silence before it."""
        if not speech.order.task.first:
            return None
        return self._speaking.scheduler.tts.pause(1, 1).audio
