"""The calls of Riva's speech synthesis: a text or several come in, audio goes out.

In: the bytes of a call's messages. Out: messages, and a status. Every call is read as a stream of
messages, so that also those of one message have a bound on the time in which it comes. gRPC cancels
the task of a call whose caller leaves, and with it the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import grpc
from anyio import fail_after

from runtime.serving.connections import FLUSH_SECONDS
from runtime.serving.errors import RequestFailed, explain
from runtime.serving.growing.narrator import Narrator
from runtime.serving.growing.sentences import Sentence
from runtime.serving.metrics import Metrics
from runtime.serving.requests import SpeechRequest
from runtime.serving.riva.errors import code_of, trailers
from runtime.serving.riva.messages import (
    SynthesisConfigRequest,
    SynthesizeSpeechRequest,
    SynthesizeSpeechResponse,
    read_message,
)
from runtime.serving.riva.requests import describe_server, read_request
from runtime.serving.speaking import Speaking
from runtime.serving.speech_response import Room

LAST_SECONDS = 1.0  # when the server ends, for a text that is under way
Put = Callable[[bytes], Awaitable[None]]
log = logging.getLogger("slm.serve")


class RivaCalls:
    """Of a server. ending: set when it takes no more texts."""

    def __init__(self, speaking: Speaking, metrics: Metrics) -> None:
        self._speaking, self._metrics = speaking, metrics
        self._running = 0
        self.ending = asyncio.Event()

    async def synthesize(self, _: Any, context: Any) -> None:
        """A text in, all of its audio out."""
        await self._answer("riva_synthesize", context, self._synthesize)

    async def synthesize_online(self, _: Any, context: Any) -> None:
        """Texts in, audio out while it is made."""
        await self._answer("riva_synthesize_online", context, self._synthesize_online)

    async def config(self, _: Any, context: Any) -> None:
        """What the server has."""
        await self._answer("riva_config", context, self._config)

    async def refuse(self, error: Exception, context: Any, route: str = "other") -> None:
        """End a call with an error."""
        failed = explain(error)
        if isinstance(error, TimeoutError):
            message = f"no audio was taken for {self._speaking.settings.patience_seconds:g} s"
            failed = RequestFailed(408, message, code="slow")
        elif failed.code == "defect":
            log.error("a call failed", exc_info=error)
        self._metrics.count_answer(route, failed.status)
        with suppress(TimeoutError):  # who reads nothing does not take the status, either
            with fail_after(FLUSH_SECONDS):
                await context.abort(code_of(failed), failed.message, trailers(failed))

    # What calls do.

    async def _answer(
        self, route: str, context: Any, work: Callable[[Any], Awaitable[None]]
    ) -> None:
        most = self._speaking.settings.max_sessions
        self._running += 1
        try:
            if self._running > most:
                message = f"{most} calls are being answered; try again"
                raise RequestFailed(429, message, code="too_many_calls", retry_after_seconds=1)
            await work(context)
        except Exception as error:  # also a defect: the caller must not take it for the end
            await self.refuse(error, context, route)
        else:
            self._metrics.count_answer(route, 200)
        finally:
            self._running -= 1

    async def _config(self, context: Any) -> None:
        request = await self._only_message(context, SynthesisConfigRequest)
        await self._put(context, describe_server(request.model_name, self._speaking))

    async def _synthesize(self, context: Any) -> None:
        message = await self._only_message(context, SynthesizeSpeechRequest)
        request = read_request(message, self._speaking, is_whole=True)
        content, room = bytearray(), Room(self._speaking.settings.max_whole_bytes)

        async def keep(part: bytes) -> None:
            room.take(len(part))
            content.extend(part)

        await self._speak(Narrator(self._speaking, self._metrics), request, 0, keep)
        await self._put(context, _response(bytes(content), message))

    async def _synthesize_online(self, context: Any) -> None:
        """The texts of a stream are sentences of one utterance, with silence between them."""
        narrator = Narrator(self._speaking, self._metrics)
        spoken = 0
        content = await self._next(context, self._speaking.settings.body_seconds)
        while content is not None:
            message = read_message(SynthesizeSpeechRequest, content)
            if spoken == 0 or _has_words(message.text):
                request = read_request(message, self._speaking, is_whole=False)

                async def send(part: bytes, message: Any = message) -> None:
                    await self._put(context, _response(part, message))

                await self._speak(narrator, request, spoken, send)
                spoken += 1
            content = await self._next(context, self._speaking.settings.session_idle_seconds)
        if not spoken:
            raise _no_message()

    async def _speak(
        self, narrator: Narrator, request: SpeechRequest, index: int, put: Put
    ) -> None:
        sentence = Sentence(0, index, request.input, request)
        try:
            async with aclosing(narrator.parts(sentence)) as parts:
                async for part in parts:
                    await put(part)
        except asyncio.CancelledError:
            self._metrics.count_aborted("left")
            raise
        except Exception as error:
            self._metrics.count_failed(error)
            raise

    # Messages.

    async def _only_message(self, context: Any, kind: Any) -> Any:
        content = await self._next(context, self._speaking.settings.body_seconds)
        if content is None:
            raise _no_message()
        return read_message(kind, content)

    async def _next(self, context: Any, seconds: float) -> bytes | None:
        """The next message; None if the caller sends no more.

        Raises:
            RequestFailed: none came for so long, or until the server ended.
        """
        reading = asyncio.ensure_future(context.read())
        ending = asyncio.create_task(self.ending.wait())
        try:
            await asyncio.wait((reading, ending), timeout=seconds, return_when="FIRST_COMPLETED")
            if not reading.done() and ending.done():
                await asyncio.wait((reading,), timeout=LAST_SECONDS)
            if not reading.done():
                if ending.done():
                    message = "this server ends; try again, or another one"
                    raise RequestFailed(503, message, code="shutting_down", retry_after_seconds=1)
                raise RequestFailed(408, f"no text came for {seconds:g} s", code="timeout")
            content = await reading
            return None if content is grpc.aio.EOF else content
        finally:
            ending.cancel()
            reading.cancel()

    async def _put(self, context: Any, message: Any) -> None:
        """A listener who reads nothing is waited for, but not for ever."""
        with fail_after(self._speaking.settings.patience_seconds):
            await context.write(message)


def _response(audio: bytes, request: Any) -> Any:
    response = SynthesizeSpeechResponse(audio=audio)
    if request.HasField("id"):
        response.id.CopyFrom(request.id)
    return response


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _no_message() -> RequestFailed:
    return RequestFailed(400, "no request came; send one", code="invalid_value")
