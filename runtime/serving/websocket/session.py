"""One WebSocket: text comes in pieces, and each sentence is spoken as soon as it is complete.

In: messages of a caller. Out: events, and audio in binary messages. One task reads, so that a
caller who cancels or leaves is heard at once; another speaks, sentence by sentence.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress

from anyio import fail_after
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from runtime.serving.encoding import with_sizes
from runtime.serving.errors import RequestFailed, explain
from runtime.serving.growing.incoming import Incoming, Silent
from runtime.serving.growing.narrator import REFUSALS, Narrator
from runtime.serving.growing.sentences import End, Sentence, SentenceQueue
from runtime.serving.growing.tasks import Tasks
from runtime.serving.metrics import Metrics
from runtime.serving.speaking import Speaking
from runtime.serving.speech_response import abort
from runtime.serving.websocket.messages import (
    CallerMessage,
    SessionConfig,
    encode_error,
    encode_event,
    read_config,
    read_message,
)

CONFIG_SECONDS = 10.0  # for the first message
ENDING = "slm.ending"  # extension of the scope: an event, set when the server is told to end
log = logging.getLogger("slm.serve")


class Closing(Exception):
    """The session ends. code: of the WebSocket's close; None: it was cut already. is_told: the
    reason has been sent as an event."""

    def __init__(self, code: int | None, reason: str = "", *, is_told: bool = False) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason
        self.is_told = is_told or code in (None, 1000)


class Session:
    """Of one accepted WebSocket."""

    def __init__(self, socket: WebSocket, speaking: Speaking, metrics: Metrics) -> None:
        self._socket, self._speaking, self._metrics = socket, speaking, metrics
        self._queue = SentenceQueue(speaking)
        self._narrator = Narrator(speaking, metrics)
        ending: asyncio.Event = socket.scope.get("extensions", {}).get(ENDING) or asyncio.Event()
        self._incoming = Incoming(
            socket.receive,
            ending,
            CONFIG_SECONDS,
            speaking.settings.session_idle_seconds,
            is_busy=lambda: self._is_busy,
            may_pause=lambda: self._queue.is_pausing,
        )
        self._tasks = Tasks()
        self._config: SessionConfig | None = None
        self._current: Sentence | None = None  # that is being spoken
        self._is_telling = False  # something that was taken from the queue
        self._leaves_after: Closing | None = None  # all that waits has been said

    async def run(self) -> None:
        """Until one side ends it."""
        try:
            self._speaker = self._tasks.start(self._speak())
            self._tasks.start(self._read())
            await self._tasks.wait()
        except Closing as end:
            await self._close(end)
        except WebSocketDisconnect:
            self._count_aborted("left")
        except Exception as defect:
            log.error("a session failed", exc_info=defect)
            await self._close(Closing(1011, "a defect of the server; its log says more"))
        finally:
            self._incoming.close()

    # The task that reads.

    async def _read(self) -> None:
        while True:
            try:
                if (message := await self._incoming.next()) is not None:
                    await self._take(_text_of(message))
                elif self._incoming.is_ending and self._leaves_after is None:
                    await self._leave(Closing(1012, "this server ends"))
                else:
                    await self._queue.pause()
            except RequestFailed as error:
                await self._refuse(error)
            except Silent as silence:
                raise Closing(1008 if silence.is_first else 1001, str(silence)) from None

    @property
    def _is_busy(self) -> bool:
        return self._is_telling or not self._queue.is_empty

    async def _take(self, text: str) -> None:
        """Do what a message says. Raises `RequestFailed` if it cannot be done."""
        message = read_message(text)
        if self._config is None and message.type != "session.config":
            raise RequestFailed(400, f"session.config comes first, not {message.type[:32]!r}")
        match message.type:
            case "session.config":
                self._configure(text)
            case "input.text":
                await self._add(message)
            case "input.done":
                await self._queue.finish()
            case "input.cancel":
                await self._cancel()
            case "session.close":
                await self._leave(Closing(1000))
            case other:
                raise RequestFailed(400, f"no message {other[:32]!r}", code="unknown_type")

    def _configure(self, text: str) -> None:
        if self._queue.is_open:
            message = "an utterance is open; send input.done before session.config"
            raise RequestFailed(400, message, code="utterance_is_open")
        config = read_config(text, self._speaking.model)
        self._speaking.voices.speaker(config.request().voice_name)
        self._config = config

    async def _add(self, message: CallerMessage) -> None:
        assert self._config is not None
        if self._leaves_after is not None:
            raise RequestFailed(400, "this session is about to end", code="ending")
        config = self._config
        if message.text:
            await self._queue.add(message.text, config.request(), config.split_granularity)

    async def _cancel(self) -> None:
        """Stop at once, and forget what waits."""
        self._speaker.cancel()  # which is no failure
        await asyncio.wait({self._speaker})
        spoken, self._current, self._is_telling = self._current, None, False
        utterance = spoken.utterance if spoken else self._queue.utterance
        if spoken:
            self._metrics.count_aborted("cancelled")
        self._queue.drop()
        self._speaker = self._tasks.start(self._speak())
        index = spoken.index if spoken else None
        await self._tell(
            "audio.cancelled", utterance_index=utterance, sentence_index=index, reason="cancelled"
        )
        if self._leaves_after is not None:
            raise self._leaves_after

    async def _leave(self, end: Closing) -> None:
        """End when all that came is said; an open utterance ends here."""
        if self._queue.is_open and end.code != 1000:
            await self._queue.finish()
        self._leaves_after = end
        if not self._is_busy:
            raise end

    async def _refuse(self, error: RequestFailed) -> None:
        """A wrong message is told. The first one must be right, and floods end the session."""
        await self._put(encode_error(error))
        if self._config is None:
            raise Closing(1008, error.message, is_told=True)
        if error.code == "too_much_text":
            raise Closing(1009, error.message, is_told=True)

    # The task that speaks.

    async def _speak(self) -> None:
        while True:
            item = await self._queue.take()
            self._is_telling = True
            if isinstance(item, End):
                await self._tell(
                    "session.done", utterance_index=item.utterance, total_sentences=item.sentences
                )
            else:
                await self._speak_sentence(item)
            self._is_telling = False
            self._incoming.touch()
            if self._leaves_after is not None and self._queue.is_empty:
                raise self._leaves_after

    async def _speak_sentence(self, sentence: Sentence) -> None:
        self._current = sentence
        where = {"utterance_index": sentence.utterance, "sentence_index": sentence.index}
        sent = _Sent()
        try:
            await self._send_audio(sentence, where, sent)
        except REFUSALS as error:
            self._metrics.count_failed(error)
            await self._start(sentence, where, sent)
            partial = {"partial_audio": True, "action": "discard"} if sent.size_bytes else {}
            await self._put(encode_error(explain(error), **where, **partial))
            sent.is_failed = True
        except (WebSocketDisconnect, Closing):
            raise
        except Exception as error:
            log.error("a sentence failed", exc_info=error)
            raise Closing(1011, explain(error).message) from None
        await self._tell("audio.done", **where, total_bytes=sent.size_bytes, error=sent.is_failed)
        self._current = None

    async def _send_audio(self, sentence: Sentence, where: dict[str, int], sent: _Sent) -> None:
        is_whole, whole = sentence.request.is_whole, bytearray()
        async with aclosing(self._narrator.parts(sentence)) as parts:
            async for part in parts:
                await self._start(sentence, where, sent)
                if is_whole:
                    whole += part
                    self._check_size(whole)
                else:
                    await self._put(part)
                    sent.size_bytes += len(part)
        if whole:
            content = with_sizes(sentence.request.format, bytes(whole))
            await self._put(content)
            sent.size_bytes += len(content)

    def _check_size(self, whole: bytearray) -> None:
        most = self._speaking.settings.max_whole_bytes
        if len(whole) > most:
            message = f"the file is larger than {most} bytes; give stream_audio"
            raise RequestFailed(400, message, param="stream_audio", code="too_long")

    async def _start(self, sentence: Sentence, where: dict[str, int], sent: _Sent) -> None:
        if sent.has_begun:
            return
        sent.has_begun = True
        request = sentence.request
        await self._tell(
            "audio.start",
            **where,
            sentence_text=sentence.text,
            format=request.format,
            sample_rate=request.rate_hz(self._speaking.scheduler.tts.sample_rate),
            channels=1,
        )

    # Both.

    async def _tell(self, kind: str, **fields: object) -> None:
        await self._put(encode_event(kind, **fields))

    async def _put(self, content: str | bytes) -> None:
        """A caller who reads nothing is waited for, but not for ever."""
        field = "text" if isinstance(content, str) else "bytes"
        message: Message = {"type": "websocket.send", field: content}
        try:
            with fail_after(self._speaking.settings.patience_seconds):
                await self._socket.send(message)
        except TimeoutError:
            self._count_aborted("slow")
            self._current = None
            await abort(self._socket.scope)
            raise Closing(None) from None

    async def _close(self, end: Closing) -> None:
        self._count_aborted("left")
        if end.code is None:
            return
        with suppress(WebSocketDisconnect, Closing):
            if not end.is_told:
                await self._put(encode_error(RequestFailed(500, end.reason, code="closing")))
            await self._socket.close(end.code, end.reason[:120])

    def _count_aborted(self, reason: str) -> None:
        if self._current is not None:
            self._metrics.count_aborted(reason)


def _text_of(message: Message) -> str:
    """Raises `WebSocketDisconnect`, or `RequestFailed` for a message that is no text."""
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text = message.get("text")
    if not isinstance(text, str):
        raise RequestFailed(400, "messages must be text, not binary", code="invalid_type")
    return text


class _Sent:
    """What has been sent of a sentence."""

    def __init__(self) -> None:
        self.has_begun = self.is_failed = False
        self.size_bytes = 0
