"""The fields of Riva's requests become those of a speech; what cannot be done is refused.

In: messages. Out: a `SpeechRequest`, and what this server tells of itself. Nothing that would
change the sound is passed over in silence.
"""

from __future__ import annotations

import re
from typing import Any

from runtime.serving.encoding import native_rate
from runtime.serving.errors import RequestFailed
from runtime.serving.requests import (
    SpeechRequest,
    check_language,
    check_model,
    check_sound,
    check_text,
)
from runtime.serving.riva.messages import (
    ENCODINGS,
    LINEAR_PCM,
    OGGOPUS,
    SynthesisConfigResponse,
)
from runtime.serving.speaking import Speaking

FORMATS = {0: "pcm", LINEAR_PCM: "pcm", OGGOPUS: "opus"}  # 0: the client has not said
NAMES = {"sample_rate": "sample_rate_hz", "seed": "custom_configuration seed"}  # HTTP's -> Riva's
SSML = re.compile(r"\s*<(\?xml|speak)\b", re.IGNORECASE)


def read_request(request: Any, speaking: Speaking, *, is_whole: bool) -> SpeechRequest:
    """How the request's text is to be said.

    Raises:
        RequestFailed: what is wrong with it.
    """
    check_text(request.text, speaking.settings.max_text_bytes, "text")
    _check_offered(request)
    if request.language_code:
        check_language(request.language_code, speaking.language, "language_code")
    name, codec_rate_hz = FORMATS[request.encoding], speaking.scheduler.tts.sample_rate
    speech = SpeechRequest(
        input=request.text,
        voice=_voice_of(request.voice_name, speaking),
        response_format=name,
        stream=not is_whole,
        seed=_seed_of(request.custom_configuration),
        sample_rate=request.sample_rate_hz or native_rate(name, codec_rate_hz),
    )
    try:
        check_sound(speech)
    except RequestFailed as error:
        raise _renamed(error) from None
    return speech


def _check_offered(request: Any) -> None:
    if request.encoding not in FORMATS:
        names = {number: name for name, number in ENCODINGS.items()}
        asked = names.get(request.encoding, request.encoding)
        raise _wrong("encoding", f"{asked} is not offered; ask for LINEAR_PCM or OGGOPUS")
    if SSML.match(request.text):
        raise _wrong("text", "is SSML, which is not understood here; send plain text")
    if request.HasField("zero_shot_data"):
        message = "is not taken; upload the voice over HTTP and name it in voice_name"
        raise _wrong("zero_shot_data", message)
    if request.custom_dictionary:
        raise _wrong("custom_dictionary", "is not taken; spell words as they are said")
    if request.enable_word_time_offsets:
        raise _wrong("enable_word_time_offsets", "must be false: words have no times here")


def _voice_of(name: str, speaking: Speaking) -> str | None:
    """Riva's clients put the model's name before that of the voice. None: the default."""
    if name not in speaking.voices.names:
        name = name.removeprefix(f"{speaking.model}.")
    return name or None


def _seed_of(custom: Any) -> int | None:
    for key in custom:
        if key != "seed":
            message = f"{key[:32]!r} is not known here; it may hold a seed"
            raise _wrong("custom_configuration", message)
    if "seed" not in custom:
        return None
    if not re.fullmatch(r"[0-9]{1,20}", custom["seed"]):
        raise _wrong("custom_configuration", "seed must be a whole number, 0 or more")
    return int(custom["seed"])


def describe_server(asked_model: str, speaking: Speaking) -> Any:
    """One model with its voices. Raises `RequestFailed` if another is asked for."""
    check_model(asked_model, speaking.model)
    response = SynthesisConfigResponse()
    model = response.model_config.add(model_name=speaking.model)
    voices = (f"{name}:{number}" for number, name in enumerate(speaking.voices.names))
    told = {
        "language_code": speaking.language or "",
        "voice_name": speaking.model,
        "subvoices": ",".join(voices),
        "sample_rate": str(speaking.scheduler.tts.sample_rate),
    }
    model.parameters.update(told)
    return response


def _renamed(error: RequestFailed) -> RequestFailed:
    name = NAMES.get(error.param or "", error.param)
    message = f"{name}{error.message.removeprefix(error.param or '')}"
    return RequestFailed(error.status, message, param=name, code=error.code)


def _wrong(field: str, why: str) -> RequestFailed:
    return RequestFailed(400, f"{field} {why}", param=field, code="invalid_value")
