"""One connection of Wyoming: requests come in, audio goes out, sentence by sentence.

In: events of a caller. Out: events, audio in their payloads. One task reads, so that a caller who
leaves is noticed at once; another speaks.

A stream of text is `synthesize-start`, `synthesize-chunk`s and `synthesize-stop`. Before the stop,
callers send the whole text again in `synthesize`, for servers that know no streams: it must not be
spoken twice. What goes wrong is told by `error`; then the connection ends, because callers ignore
that event and wait for an end.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from anyio import fail_after
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_write_event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
)

from runtime.serving.errors import RequestFailed, explain
from runtime.serving.growing.incoming import Incoming, Silent
from runtime.serving.growing.narrator import REFUSALS, Narrator
from runtime.serving.growing.sentences import End, Sentence, SentenceQueue
from runtime.serving.growing.tasks import Tasks
from runtime.serving.metrics import Metrics
from runtime.serving.requests import SpeechRequest
from runtime.serving.speaking import Speaking
from runtime.serving.wyoming.events import read_event
from runtime.serving.wyoming.info import describe_server
from runtime.serving.wyoming.requests import check_format, text_in, voice_of

FIRST_SECONDS = 30.0
IDLE_SECONDS = 300.0  # some callers keep their connection
SAMPLE_BYTES, CHANNELS = 2, 1
log = logging.getLogger("slm.serve")


class _Leaving(Exception):
    """The connection ends. reason: for the caller, or None if there is nobody to tell."""

    def __init__(self, reason: RequestFailed | None = None) -> None:
        super().__init__()
        self.reason = reason


class Conversation:
    """Of one connection. ending: is set when the server is told to end."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        speaking: Speaking,
        metrics: Metrics,
        ending: asyncio.Event,
    ) -> None:
        self._writer, self._speaking, self._metrics = writer, speaking, metrics
        self._queue = SentenceQueue(speaking)
        self._narrator = Narrator(speaking, metrics)
        self._incoming = Incoming(
            lambda: read_event(reader),
            ending,
            FIRST_SECONDS,
            IDLE_SECONDS,
            is_busy=lambda: self._is_busy,
            may_pause=lambda: self._queue.is_pausing,
        )
        self._stream: SpeechRequest | None = None  # of the text that is coming in pieces
        self._fallback = ""  # the same text at once
        self._streams: set[int] = set()  # utterances that came in pieces
        self._current: Sentence | None = None  # that is being spoken
        self._is_telling = False  # something that was taken from the queue
        self._has_started = False  # whether audio of the utterance was announced
        self._leaves = False  # when all that waits is said

    async def run(self) -> None:
        """Until one side ends it."""
        try:
            tasks = Tasks()
            tasks.start(self._speak())
            tasks.start(self._read())
            await tasks.wait()
        except _Leaving as end:
            await self._tell_end(end.reason)
        except (OSError, EOFError):  # the caller has gone
            self._count_aborted("left")
        except Exception as defect:
            log.error("a conversation failed", exc_info=defect)
            await self._tell_end(explain(defect))
        finally:
            self._incoming.close()

    # The task that reads.

    @property
    def _is_busy(self) -> bool:
        return self._is_telling or not self._queue.is_empty

    async def _read(self) -> None:
        while True:
            try:
                if (event := await self._incoming.next()) is not None:
                    await self._take(event)
                elif self._incoming.is_ending and not self._leaves:
                    self._leave()
                else:
                    await self._queue.pause()
            except RequestFailed as error:
                raise _Leaving(error) from None
            except Silent:
                raise _Leaving from None

    def _leave(self) -> None:
        """The server ends; a text that is still coming is not whole."""
        self._leaves = True
        if not self._is_busy:
            raise _Leaving

    async def _take(self, event: Event) -> None:
        """Do what an event asks for. Those that are not known are none of our business."""
        kind = event.type
        if Describe.is_type(kind):
            await self._send(describe_server(self._speaking))
        elif Ping.is_type(kind):
            await self._send(Pong(text=Ping.from_event(event).text).event())
        elif SynthesizeStart.is_type(kind):
            self._begin_stream(event)
        elif SynthesizeChunk.is_type(kind):
            await self._add_chunk(event)
        elif Synthesize.is_type(kind):
            await self._synthesize(event)
        elif SynthesizeStop.is_type(kind):
            await self._end_stream()

    def _begin_stream(self, event: Event) -> None:
        if self._stream is not None:
            message = "synthesize-start within a stream; send synthesize-stop first"
            raise RequestFailed(400, message, code="stream_is_open")
        self._stream, self._fallback = self._request(event), ""
        self._streams.add(self._queue.utterance)

    async def _add_chunk(self, event: Event) -> None:
        text = text_in(event)
        if self._stream is not None and text:
            await self._queue.add(text, self._stream, "sentence")

    async def _synthesize(self, event: Event) -> None:
        text = text_in(event)
        if self._stream is not None:
            self._fallback = text
            return
        request = self._request(event)
        if text:
            await self._queue.add(text, request, "none")
        await self._queue.finish()

    async def _end_stream(self) -> None:
        if self._stream is None:
            return
        if not self._queue.is_open and self._fallback:
            await self._queue.add(self._fallback, self._stream, "none")
        self._stream = None
        await self._queue.finish()

    def _request(self, event: Event) -> SpeechRequest:
        """How the event wants its text to be said. Raises `RequestFailed` if that cannot be."""
        check_format(event)
        return SpeechRequest(
            input="",
            voice=voice_of(event, self._speaking),
            response_format="pcm",
            sample_rate=self._speaking.scheduler.tts.sample_rate,
        )

    # The task that speaks.

    async def _speak(self) -> None:
        while True:
            item = await self._queue.take()
            self._is_telling = True
            if isinstance(item, End):
                await self._end_utterance(item)
            else:
                await self._speak_sentence(item)
            self._is_telling = False
            self._incoming.touch()
            if self._leaves and self._queue.is_empty:
                raise _Leaving

    async def _end_utterance(self, end: End) -> None:
        await self._start()
        self._has_started = False
        await self._send(AudioStop().event())
        if end.utterance in self._streams:
            self._streams.remove(end.utterance)
            await self._send(SynthesizeStopped().event())

    async def _speak_sentence(self, sentence: Sentence) -> None:
        self._current = sentence
        rate_hz = self._speaking.scheduler.tts.sample_rate
        try:
            async with aclosing(self._narrator.parts(sentence)) as parts:
                async for part in parts:
                    await self._start()
                    await self._send(AudioChunk(rate_hz, SAMPLE_BYTES, CHANNELS, part).event())
        except REFUSALS as error:
            self._metrics.count_failed(error)
            self._current = None
            raise _Leaving(explain(error)) from None
        self._current = None

    async def _start(self) -> None:
        if not self._has_started:
            self._has_started = True
            rate_hz = self._speaking.scheduler.tts.sample_rate
            await self._send(AudioStart(rate_hz, SAMPLE_BYTES, CHANNELS).event())

    # Both.

    async def _send(self, event: Event) -> None:
        """A caller who reads nothing is waited for, but not for ever."""
        try:
            with fail_after(self._speaking.settings.patience_seconds):
                await async_write_event(event, self._writer)
        except TimeoutError:
            self._count_aborted("slow")
            self._current = None
            self._writer.transport.abort()
            raise _Leaving from None

    async def _tell_end(self, reason: RequestFailed | None) -> None:
        self._count_aborted("left")
        if reason is None or self._writer.is_closing():
            return
        try:
            await self._send(Error(text=reason.message, code=reason.code).event())
        except (_Leaving, OSError):  # there is nobody to tell
            return

    def _count_aborted(self, reason: str) -> None:
        if self._current is not None:
            self._metrics.count_aborted(reason)
