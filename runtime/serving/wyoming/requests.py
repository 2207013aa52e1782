"""The fields of Wyoming's requests: a text, and a voice by its name or its language.

In: events. Out: a text; the name of a voice. They are checked here, because the package `wyoming`
does not.
"""

from __future__ import annotations

from wyoming.event import Event

from runtime.serving.errors import RequestFailed
from runtime.serving.requests import check_language
from runtime.serving.speaking import Speaking


def text_in(event: Event) -> str:
    """Raises `RequestFailed` if there is none."""
    text = event.data.get("text")
    if not isinstance(text, str):
        message = f"{event.type}: text is missing, or no string"
        raise RequestFailed(400, message, param="text", code="invalid_type")
    return text


def check_format(event: Event) -> None:
    """Marks of SSML would be spoken. Raises `RequestFailed` for any but plain text."""
    kind = event.data.get("text_format")
    if kind not in (None, "text"):
        message = f"text_format {str(kind)[:32]!r} is not understood here; send plain text"
        raise RequestFailed(400, message, param="text_format", code="unsupported")


def voice_of(event: Event, speaking: Speaking) -> str | None:
    """The voice's name; None: the default.

    Raises:
        RequestFailed: there is no such voice, or none of such a language.
    """
    voice = event.data.get("voice") or {}
    if not isinstance(voice, dict):
        raise _wrong("voice", "must be an object")
    name, language = voice.get("name"), voice.get("language")
    if name is not None and not isinstance(name, str):
        raise _wrong("voice.name", "must be a string")
    if name is None and language is not None:
        check_language(language, speaking.language, "voice.language")
    speaking.voices.speaker(name or None)
    return name or None


def _wrong(field: str, why: str) -> RequestFailed:
    return RequestFailed(400, f"{field} {why}", param=field, code="invalid_voice")
