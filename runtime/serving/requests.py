"""The body of `/v1/audio/speech`: read, checked and completed.

In: JSON. Out: a `SpeechRequest` in which everything but the voice's name and the text's letters is
known to be right. Fields that it does not know are ignored, as clients send many.
"""

from __future__ import annotations

import re
from typing import Literal, TypeVar

import msgspec

from runtime.serving.encoding import FORMATS, native_rate
from runtime.serving.errors import RequestFailed
from runtime.speech.sampling import MAX_SEED

DEFAULT_FORMAT = "mp3"
MIN_SPEED, MAX_SPEED = 0.25, 4.0
MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 48_000
PCM_RATE_HZ = 24_000  # what clients take headerless samples for
MODEL_ALIASES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
T = TypeVar("T")
_DATE = re.compile(r"-\d{4}-\d\d-\d\d$")  # of a version of a model
_FIELD = re.compile(r" - at `\$\.?(.*)`$")


class VoiceId(msgspec.Struct):
    """A voice as OpenAI's own ones are named."""

    id: str


class SpeechRequest(msgspec.Struct):
    """Fields as OpenAI has them; `stream`, `seed` and `sample_rate` are additions of others.

    stream: False sends a whole file, whose length is known. instructions: are ignored.
    """

    input: str
    model: str | None = None
    voice: str | VoiceId | None = None
    response_format: str | None = None
    speed: float | None = None
    stream_format: Literal["audio", "sse"] | None = None
    stream: bool | None = None
    seed: int | None = None
    sample_rate: int | None = None

    @property
    def format(self) -> str:
        return self.response_format or DEFAULT_FORMAT

    @property
    def voice_name(self) -> str | None:
        """None: the bundle's default."""
        return self.voice.id if isinstance(self.voice, VoiceId) else self.voice or None

    @property
    def is_events(self) -> bool:
        return self.stream_format == "sse"

    @property
    def is_whole(self) -> bool:
        return self.stream is False and not self.is_events

    def rate_hz(self, codec_rate_hz: int) -> int:
        """Of what is sent. Files say their rate and have the codec's; samples without a header are
        played at OpenAI's by every client that is not told otherwise."""
        if self.sample_rate is not None:
            return self.sample_rate
        return PCM_RATE_HZ if self.format == "pcm" else native_rate(self.format, codec_rate_hz)


def read_request(body: bytes, model: str, max_text_bytes: int) -> SpeechRequest:
    """model: the one that speaks here.

    Raises:
        RequestFailed: what is wrong with it.
    """
    request = decode_fields(body, SpeechRequest)
    check_model(request.model, model)
    check_text(request.input, max_text_bytes)
    check_sound(request)
    return request


def decode_fields(body: bytes, kind: type[T]) -> T:
    """JSON as a record. Raises `RequestFailed` for other JSON, and for what is none."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        told, found = str(error), _FIELD.search(str(error))
        field = found.group(1) if found else _missing_field(told)
        raise RequestFailed(400, told, param=field or None, code="invalid_type") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from None


def not_json(error: Exception) -> RequestFailed:
    """The answer to what cannot be read. It says where, but quotes nothing."""
    where = f": {error}" if isinstance(error, msgspec.DecodeError) else ""
    return RequestFailed(400, f"the body is not JSON{where}", code="invalid_json")


def check_model(asked: str | None, model: str) -> None:
    """Raises `RequestFailed` if another model is asked for."""
    if asked in (None, "", model) or _DATE.sub("", asked or "") in MODEL_ALIASES:
        return
    assert asked is not None
    message = f"no model {asked[:64]!r}; this server speaks with {model!r}"
    raise RequestFailed(404, message, param="model", code="model_not_found")


def _missing_field(told: str) -> str:
    found = re.search(r"missing required field `(.*?)`", told)
    return found.group(1) if found else ""


def check_text(text: str, max_bytes: int, field: str = "input") -> None:
    """Raises `RequestFailed` for an empty or a too long text."""
    if not text.strip():
        raise _wrong(field, "is empty; give a text")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        raise _wrong(field, f"has {size} bytes; at most {max_bytes} are taken")


def check_language(asked: object, ours: str | None, field: str) -> None:
    """The same language in another country will do. Raises `RequestFailed` for another one."""
    told = str(asked)[:32].replace("_", "-")
    if ours is not None and told.split("-")[0].lower() != ours.split("-")[0].lower():
        message = f"{field} is {told!r}, but the voices speak {ours!r}"
        raise RequestFailed(400, message, param=field, code="invalid_voice")


def check_sound(request: SpeechRequest) -> None:
    """Raises `RequestFailed` for a format, rate, speed or seed that there is not."""
    if request.format not in FORMATS:
        raise _wrong("response_format", f"must be one of {', '.join(FORMATS)}")
    if request.speed is not None and not MIN_SPEED <= request.speed <= MAX_SPEED:
        raise _wrong("speed", f"must lie between {MIN_SPEED:g} and {MAX_SPEED:g}")
    if request.seed is not None and not 0 <= request.seed <= MAX_SEED:
        raise _wrong("seed", f"must lie between 0 and {MAX_SEED}")
    rates = FORMATS[request.format].rates_hz
    rate = request.sample_rate
    if rate is not None and rates and rate not in rates:
        raise _wrong(
            "sample_rate", f"of {request.format} must be one of {', '.join(map(str, rates))}"
        )
    if rate is not None and not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise _wrong("sample_rate", f"must lie between {MIN_RATE_HZ} and {MAX_RATE_HZ}")


def _wrong(field: str, why: str) -> RequestFailed:
    return RequestFailed(400, f"{field} {why}", param=field, code="invalid_value")
