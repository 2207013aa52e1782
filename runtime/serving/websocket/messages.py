"""Messages of the WebSocket: what callers send, read and checked, and what they are told.

In: JSON. Out: a `CallerMessage` or a `SessionConfig`, and events as JSON. Fields that are not known
are ignored, as callers send many.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runtime.serving.errors import RequestFailed
from runtime.serving.requests import SpeechRequest, VoiceId, check_model, check_sound, decode_fields
from runtime.text.growing_text import Granularity

DEFAULT_FORMAT = "wav"


class CallerMessage(msgspec.Struct):
    """text: of `input.text`."""

    type: str
    text: str = ""


class SessionConfig(msgspec.Struct):
    """How sentences are spoken: fields of `/v1/audio/speech`, and two more.

    stream_audio: send a sentence in pieces while it is made, instead of as one file.
    split_granularity: what is spoken before the text has ended.
    """

    model: str | None = None
    voice: str | VoiceId | None = None
    response_format: str | None = None
    speed: float | None = None
    seed: int | None = None
    sample_rate: int | None = None
    stream_audio: bool = False
    split_granularity: Granularity = "sentence"
    word_timestamps: bool = False

    def request(self) -> SpeechRequest:
        """The same as a request without a text."""
        return SpeechRequest(
            input="",
            voice=self.voice,
            response_format=self.response_format or DEFAULT_FORMAT,
            speed=self.speed,
            stream=self.stream_audio,
            seed=self.seed,
            sample_rate=self.sample_rate,
        )


def read_message(text: str) -> CallerMessage:
    """Raises `RequestFailed` if it is not a message."""
    return decode_fields(text.encode("utf-8", "surrogatepass"), CallerMessage)


def read_config(text: str, model: str) -> SessionConfig:
    """model: the one that speaks here.

    Raises:
        RequestFailed: what is wrong with it.
    """
    config = decode_fields(text.encode("utf-8", "surrogatepass"), SessionConfig)
    check_model(config.model, model)
    check_sound(config.request())
    if config.word_timestamps:
        message = "this server knows no times of words; leave word_timestamps out"
        raise RequestFailed(400, message, param="word_timestamps", code="unsupported")
    return config


def encode_event(kind: str, **fields: Any) -> str:
    """An event for the caller."""
    return msgspec.json.encode({"type": kind} | fields).decode()


def encode_error(failed: RequestFailed, **fields: Any) -> str:
    """What went wrong. fields: where, and whether audio of it has been sent."""
    told: dict[str, Any] = {"message": failed.message, "code": failed.code, "param": failed.param}
    if failed.retry_after_seconds is not None:
        told["retry_after"] = failed.retry_after_seconds
    return encode_event("error", **told, **fields)
