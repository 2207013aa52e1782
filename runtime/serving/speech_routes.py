"""`/v1/audio/speech` and the lists of models: OpenAI's routes.

In: requests. Out: audio, and JSON.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runtime.serving.encoding import SpeechEncoder
from runtime.serving.metrics import Metrics, Playback
from runtime.serving.requests import MODEL_ALIASES, SpeechRequest, check_model, read_request
from runtime.serving.speaking import Speaking
from runtime.serving.speech_response import SpeechResponse

OWNER = "slm-deploy"
CREATED = 0  # a bundle does not say when it was made


def speech_routes(speaking: Speaking, metrics: Metrics) -> list[Route]:
    """The routes of a server."""

    async def speech(request: Request) -> SpeechResponse:
        playback = Playback()
        limit = speaking.settings.max_text_bytes
        wanted = read_request(await request.body(), speaking.model, limit)
        encoder = make_encoder(wanted, speaking)
        spoken = await speaking.begin(
            wanted.input, wanted.voice_name, wanted.seed, is_whole=wanted.is_whole
        )
        return SpeechResponse(
            speaking,
            spoken,
            encoder,
            metrics,
            playback,
            name=wanted.format,
            events=wanted.is_events,
            whole=wanted.is_whole,
        )

    async def models(_: Request) -> Response:
        names = (speaking.model, *MODEL_ALIASES)
        return JSONResponse({"object": "list", "data": [describe_model(name) for name in names]})

    async def model(request: Request) -> Response:
        name = request.path_params["model"]
        check_model(name, speaking.model)
        return JSONResponse(describe_model(name))

    async def audio_models(_: Request) -> Response:
        return JSONResponse({"models": [{"id": speaking.model}]})

    return [
        Route("/v1/audio/speech", speech, methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/models/{model}", model),
        Route("/v1/audio/models", audio_models),
    ]


def make_encoder(wanted: SpeechRequest, speaking: Speaking) -> SpeechEncoder:
    """What turns chunks into the format that is asked for."""
    codec_rate_hz = speaking.scheduler.tts.sample_rate
    rate_hz = wanted.rate_hz(codec_rate_hz)
    return SpeechEncoder(wanted.format, codec_rate_hz, rate_hz, wanted.speed or 1.0)


def describe_model(name: str) -> dict[str, str | int]:
    """As OpenAI lists models."""
    return {"id": name, "object": "model", "created": CREATED, "owned_by": OWNER}
