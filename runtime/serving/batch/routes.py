"""`/v1/audio/speech/batch`: each text is spoken by itself, and one that fails does not stop others.

In: a batch. Out: JSON with the files in base64, in the texts' order. It takes half of the rows at
most, and its texts wait for a row like any others, so listeners are not kept waiting by it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64encode
from itertools import starmap
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from runtime.scheduling.limits import Overloaded
from runtime.scheduling.speech import Speech
from runtime.serving.batch.items import read_batch
from runtime.serving.errors import explain
from runtime.serving.metrics import Metrics, Playback
from runtime.serving.requests import SpeechRequest, read_request
from runtime.serving.speaking import Speaking
from runtime.serving.speech_response import Room, SpeechResponse, unless_left
from runtime.serving.speech_routes import make_encoder

RETRY_SECONDS = 0.1  # while others fill the queue
log = logging.getLogger("slm.serve")
Result = dict[str, Any]


def batch_routes(speaking: Speaking, metrics: Metrics) -> list[Route]:
    """The routes of a server."""

    async def speech_batch(request: Request) -> BatchResponse:
        bodies = read_batch(await request.body(), speaking.settings.max_text_bytes)
        speaking.require_ready()
        speaking.scheduler.check_room()
        return BatchResponse(speaking, metrics, bodies)

    return [Route("/v1/audio/speech/batch", speech_batch, methods=["POST"])]


class BatchResponse:
    """An ASGI application that answers one request."""

    def __init__(self, speaking: Speaking, metrics: Metrics, bodies: list[bytes]) -> None:
        self._speaking, self._metrics, self._bodies = speaking, metrics, bodies
        self._rows = asyncio.Semaphore(max(1, speaking.scheduler.limits.rows // 2))
        self._room = Room(speaking.settings.max_whole_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not await unless_left(receive, self._answer(scope, receive, send)):
            self._metrics.count_aborted("left")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        results = await asyncio.gather(*starmap(self._result, enumerate(self._bodies)))
        succeeded = sum(result["status"] == "success" for result in results)
        told = {
            "id": scope.get("state", {}).get("request_id"),
            "results": results,
            "total": len(results),
            "succeeded": succeeded,
            "failed": len(results) - succeeded,
        }
        content = await self._speaking.read(msgspec.json.encode, told)
        await Response(content, media_type="application/json")(scope, receive, send)

    async def _result(self, index: int, body: bytes) -> Result:
        try:
            async with self._rows:
                told = await self._speak(body)
        except Exception as error:  # of this text: the others go on
            failed = explain(error)
            self._metrics.count_failed(error)
            if failed.code == "defect":
                log.error("a text of a batch failed", exc_info=error)
            nothing = {"audio_data": None, "media_type": None}
            return {"index": index, "status": "error", **nothing, "error": failed.message}
        return {"index": index, "status": "success", **told, "error": None}

    async def _speak(self, body: bytes) -> Result:
        speaking = self._speaking
        wanted = read_request(body, speaking.model, speaking.settings.max_text_bytes)
        encoder, playback = make_encoder(wanted, speaking), Playback()
        speech = await self._begin(wanted)
        spoken = SpeechResponse(
            speaking, speech, encoder, self._metrics, playback, name=wanted.format, whole=True
        )
        content = await spoken.collect(self._room)
        audio = (await speaking.read(b64encode, content)).decode()
        told = {"audio_data": audio, "media_type": encoder.format.content_type}
        return told | spoken.usage()

    async def _begin(self, wanted: SpeechRequest) -> Speech:
        """A text of a batch can wait until there is room in the queue."""
        end = time.monotonic() + self._speaking.settings.deadline_seconds
        while True:
            try:
                return await self._speaking.begin(
                    wanted.input, wanted.voice_name, wanted.seed, is_whole=True
                )
            except Overloaded:
                if time.monotonic() >= end:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
