"""`POST /synthesize` and `GET /voices`, as Piper's HTTP server has them.

In: JSON. Out: a WAV at the codec's own rate, while it is made, and a list of voices. Piper's
settings of noise mean nothing here and are ignored; a voice that there is not is refused.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runtime.serving.errors import RequestFailed
from runtime.serving.metrics import Metrics, Playback
from runtime.serving.requests import (
    MAX_SPEED,
    MIN_SPEED,
    SpeechRequest,
    check_sound,
    check_text,
    decode_fields,
)
from runtime.serving.speaking import Speaking
from runtime.serving.speech_response import SpeechResponse
from runtime.serving.speech_routes import make_encoder

SHORTEST, LONGEST = 1 / MAX_SPEED, 1 / MIN_SPEED  # of `length_scale`


class PiperRequest(msgspec.Struct):
    """speaker: of a voice that has several; here, another word for the voice. length_scale: 2 is
    half the speed. stream: False sends a file of known length; an addition."""

    text: str
    voice: str | None = None
    speaker: str | None = None
    length_scale: float | None = None
    stream: bool | None = None

    def as_speech(self) -> SpeechRequest:
        """The same as a request to `/v1/audio/speech`."""
        if self.length_scale is not None and not SHORTEST <= self.length_scale <= LONGEST:
            message = f"length_scale must lie between {SHORTEST:g} and {LONGEST:g}"
            raise RequestFailed(400, message, param="length_scale", code="invalid_value")
        return SpeechRequest(
            input=self.text,
            voice=self.voice or self.speaker,
            response_format="wav",
            speed=None if self.length_scale is None else 1 / self.length_scale,
            stream=self.stream,
        )


def piper_routes(speaking: Speaking, metrics: Metrics) -> list[Route]:
    """The routes of a server."""

    async def synthesize(request: Request) -> SpeechResponse:
        playback = Playback()
        wanted = decode_fields(await request.body(), PiperRequest).as_speech()
        check_text(wanted.input, speaking.settings.max_text_bytes, "text")
        check_sound(wanted)
        encoder = make_encoder(wanted, speaking)
        spoken = await speaking.begin(wanted.input, wanted.voice_name, is_whole=wanted.is_whole)
        return SpeechResponse(
            speaking, spoken, encoder, metrics, playback, name="wav", whole=wanted.is_whole
        )

    async def voices(_: Request) -> Response:
        return JSONResponse({name: _describe(name, speaking) for name in speaking.voices.names})

    return [Route("/synthesize", synthesize, methods=["POST"]), Route("/voices", voices)]


def _describe(name: str, speaking: Speaking) -> dict[str, Any]:
    """The fields of a configuration of Piper that mean something here."""
    language = speaking.language or ""
    return {
        "dataset": name,
        "audio": {"sample_rate": speaking.scheduler.tts.sample_rate},
        "espeak": {"voice": language.lower()},
        "language": {"code": language.replace("-", "_")},
        "num_speakers": 1,
        "speaker_id_map": {},
    }
