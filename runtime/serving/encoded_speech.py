"""A speech becomes the bytes of a sound file while it is made.

In: a speech, an encoder. Out: pieces of the file, and what was made so far. The encoder works in
threads, so that nobody else waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from runtime.scheduling.speech import Speech, SpeechFailed, State
from runtime.serving.encoding import Samples, SpeechEncoder
from runtime.serving.metrics import Playback
from runtime.serving.speaking import Speaking, chunks_of
from runtime.speech.spoken import Chunk


class Usage:
    """What a speech took. is_cut: a bound ended it, not the model."""

    def __init__(self, speech: Speech) -> None:
        self.input_tokens = sum(read.text_tokens for read in speech.order.task.sentences)
        self.output_tokens = 0
        self.is_cut = False

    def add(self, chunk: Chunk) -> None:
        self.output_tokens += len(chunk.frames)
        self.is_cut |= not chunk.finished


class EncodedSpeech:
    """playback: is told of each piece of audio that goes out."""

    def __init__(
        self, speaking: Speaking, speech: Speech, encoder: SpeechEncoder, playback: Playback
    ) -> None:
        self._speaking, self._speech = speaking, speech
        self._encoder, self._playback = encoder, playback
        self.usage = Usage(speech)

    async def parts(self, pause: Samples | None = None) -> AsyncGenerator[bytes, None]:
        """Pieces of the file, none of them empty, the first with the first audio. Closing it
        cancels what is left; close it (`aclosing`).

        pause: silence before the speech, which counts as no audio.

        Raises:
            SpeechFailed: there is nothing to hear, or it ended before its end.
        """
        held = b"" if pause is None else await self._work(self._encoder.feed, pause)
        made_seconds = 0.0
        async with aclosing(chunks_of(self._speech)) as chunks:
            async for chunk in chunks:
                self.usage.add(chunk)
                made_seconds += len(chunk.audio) / chunk.sample_rate / self._encoder.speed
                held += await self._work(self._encoder.feed, chunk.audio)
                if held and made_seconds:
                    self._playback.add(made_seconds - self._playback.seconds)
                    yield held
                    held = b""
        if not made_seconds:
            raise SpeechFailed(State.FAILED, "the model said nothing; try another text or seed")
        if held := held + await self._work(self._encoder.finish):
            yield held

    async def _work(self, work: Callable[..., bytes], *what: Any) -> bytes:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._speaking.encoders, work, *what)
