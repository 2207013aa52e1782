"""`/v1/audio/voices`: voices are listed, uploaded and deleted.

In: requests, uploads as forms. Out: JSON, as OpenAI and other servers of speech have it.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runtime.serving.errors import RequestFailed
from runtime.serving.voices.registry import UploadedVoice, VoiceRegistry

FIELDS = ("name", "consent")


def voice_routes(voices: VoiceRegistry, max_upload_bytes: int) -> list[Route]:
    """The routes of a server."""

    async def list_voices(request: Request) -> Response:
        if request.query_params.get("legacy") == "true":
            return JSONResponse({"voices": [*voices.names]})
        uploaded = {voice.name: voice.id for voice in voices.uploaded}
        listed = [{"id": uploaded.get(name, name), "name": name} for name in voices.names]
        return JSONResponse({"voices": listed})

    async def upload(request: Request) -> Response:
        async with request.form(max_files=1, max_fields=8, max_part_size=65_536) as form:
            sample = form.get("audio_sample")
            if not isinstance(sample, UploadFile):
                raise _missing("audio_sample", "the recording, as a file")
            name, consent = (_field(form.get(field), field) for field in FIELDS)
            recording = await sample.read(max_upload_bytes + 1)
        if len(recording) > max_upload_bytes:
            message = f"audio_sample is larger than {max_upload_bytes} bytes"
            raise RequestFailed(413, message, param="audio_sample", code="body_too_large")
        voice, notes = await run_in_threadpool(voices.add, name, recording, consent)
        return JSONResponse(describe_voice(voice) | {"warnings": notes})

    async def delete(request: Request) -> Response:
        identity = request.path_params["voice"]
        await run_in_threadpool(voices.remove, identity)
        return JSONResponse({"id": identity, "object": "audio.voice.deleted", "deleted": True})

    return [
        Route("/v1/audio/voices", list_voices),
        Route("/v1/audio/voices", upload, methods=["POST"]),
        Route("/v1/audio/voices/{voice}", delete, methods=["DELETE"]),
    ]


def describe_voice(voice: UploadedVoice) -> dict[str, object]:
    """As OpenAI describes one."""
    return {
        "id": voice.id,
        "object": "audio.voice",
        "name": voice.name,
        "created_at": voice.created_at,
        "type": "audio/wav",
    }


def _field(value: object, field: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _missing(field, "a text")
    return value.strip()


def _missing(field: str, what: str) -> RequestFailed:
    return RequestFailed(400, f"{field} is missing: {what}", param=field, code="missing_field")
