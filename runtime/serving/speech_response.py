"""An answer that is spoken: it begins with the first audio, and is never made to look whole.

In: a speech, an encoder. Out: HTTP messages: bytes of a file, or events (SSE) that carry them. A
failure before the first audio has a status of its own. Later ones end the connection without the
end of the body, so that no client takes a part for the whole; events say it first. While audio is
made, the connection is listened to: who leaves frees their row at once.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

import msgspec
from anyio import fail_after
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from runtime.scheduling.speech import Speech
from runtime.serving.encoded_speech import EncodedSpeech
from runtime.serving.encoding import SpeechEncoder, with_sizes
from runtime.serving.errors import RequestFailed, error_response, explain
from runtime.serving.metrics import Metrics, Playback
from runtime.serving.speaking import Speaking

ABORT = "slm.abort"  # extension of the scope: ends the connection at once
NOT_STORED = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
log = logging.getLogger("slm.serve")


class Room:
    """Bytes that an answer may have, if it is sent at once."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = self._left_bytes = size_bytes

    def take(self, size_bytes: int) -> None:
        """Raises `RequestFailed` if there are not so many."""
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            message = f"there is room for {self._size_bytes} bytes; ask for the speech streamed"
            raise RequestFailed(400, message, param="stream", code="too_long")


class SpeechResponse:
    """An ASGI application that answers one request.

    events: send SSE. whole: send a file of known length, when all of it is there.
    """

    def __init__(
        self,
        speaking: Speaking,
        speech: Speech,
        encoder: SpeechEncoder,
        metrics: Metrics,
        playback: Playback,
        *,
        name: str,
        events: bool = False,
        whole: bool = False,
    ) -> None:
        self._speaking, self._speech, self._encoder = speaking, speech, encoder
        self._metrics, self._playback = metrics, playback
        self._encoded = EncodedSpeech(speaking, speech, encoder, playback)
        self._name, self._is_events, self._is_whole = name, events, whole
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if not await unless_left(receive, self._answer(scope, receive, send)):
                self._metrics.count_aborted("left")
        finally:
            self._speech.cancel()

    async def collect(self, room: Room) -> bytes:
        """The whole file.

        Raises:
            RequestFailed: there is no room for it.
            SpeechFailed: it did not come to its end.
        """
        content = bytearray()
        async with aclosing(self._encoded.parts()) as parts:
            async for part in parts:
                content += part
                room.take(len(part))
        self._metrics.add_speech(self._speech, self._playback)
        return with_sizes(self._name, bytes(content))

    def usage(self) -> dict[str, Any]:
        """What it took, and whether a bound cut it."""
        usage = self._encoded.usage
        told = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        }
        return {"usage": told, "finish_reason": "length" if usage.is_cut else "stop"}

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await (self._send_whole(scope, receive, send) if self._is_whole else self._stream(send))
        except Exception as error:  # also of the encoder: the listener must not take it for the end
            await self._fail(error, scope, receive, send)

    async def _stream(self, send: Send) -> None:
        async with aclosing(self._encoded.parts()) as parts:
            async for part in parts:
                await self._begin(send)
                await self._put(send, self._event(part) if self._is_events else part)
        if self._is_events:
            await self._put(send, self._last_event())
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        self._metrics.add_speech(self._speech, self._playback)

    async def _send_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        content = await self.collect(Room(self._speaking.settings.max_whole_bytes))
        headers = {key.decode(): value.decode() for key, value in self._headers()}
        await Response(content, headers=headers)(scope, receive, send)

    async def _begin(self, send: Send) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        headers = [*self._headers()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    def _headers(self) -> list[tuple[bytes, bytes]]:
        content_type = "text/event-stream" if self._is_events else self._encoder.format.content_type
        told = [
            (b"content-type", content_type.encode()),
            (b"x-sample-rate", str(self._encoder.rate_hz).encode()),
        ]
        return [*told, *NOT_STORED]

    async def _put(self, send: Send, content: bytes) -> None:
        """A listener who reads nothing is waited for, but not for ever."""
        message: Message = {"type": "http.response.body", "body": content, "more_body": True}
        with fail_after(self._speaking.settings.patience_seconds):
            await send(message)

    def _event(self, part: bytes) -> bytes:
        audio = b64encode(part).decode()
        return encode_event({"type": "speech.audio.delta", "audio": audio})

    def _last_event(self) -> bytes:
        return encode_event({"type": "speech.audio.done"} | self.usage())

    async def _fail(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        failed = explain(error)
        self._metrics.count_failed(error)
        if failed.code == "defect" and not isinstance(error, TimeoutError):
            log.error("speech %d failed", self._speech.number, exc_info=error)
        if not self._has_begun:
            await error_response(failed)(scope, receive, send)
            return
        if self._is_events and not isinstance(error, TimeoutError):
            await self._put(send, _failed_event(failed))
        await abort(scope)


def encode_event(event: dict[str, Any]) -> bytes:
    """A message of SSE."""
    return b"data: " + msgspec.json.encode(event) + b"\n\n"


def _failed_event(failed: RequestFailed) -> bytes:
    error = failed.body() | {"partial_audio": True, "action": "discard"}
    return encode_event({"type": "speech.audio.error", "error": error})


async def abort(scope: Scope) -> None:
    """End the connection, so that the body has no end.

    Raises:
        ConnectionAbortedError: the server has no other way; it ends the connection for an error.
    """
    extension = scope.get("extensions", {}).get(ABORT)
    if extension is None:
        raise ConnectionAbortedError("the speech did not come to its end")
    await extension["abort"]()


async def unless_left(receive: Receive, answer: Coroutine[Any, Any, None]) -> bool:
    """Answer, and listen to the connection. False: the client has left, so the answer was ended."""
    answering, leaving = asyncio.create_task(answer), asyncio.create_task(_departure(receive))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            await answering
            return True
        return False
    finally:
        leaving.cancel()
        answering.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def _departure(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
