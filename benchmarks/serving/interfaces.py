"""How servers are asked to speak: where, in which words, and what comes before the samples.

In: an `Ask`. Out: a path and a body; and of what such a server answers, the 16-bit samples.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from benchmarks.serving.asking import Ask
from benchmarks.serving.targets import Broken

Fields = Mapping[str, Any]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MOST_HEADER_BYTES = 4096


@dataclass(frozen=True)
class Interface:
    """body: of a request; fields: more of it, or others. has_header: a WAV file comes, not bare
    samples."""

    path: str
    content_type: str
    body: Callable[[Ask, Fields], bytes]
    has_header: bool


def _openai(ask: Ask, fields: Fields) -> bytes:
    body = {
        "model": "tts-1",
        "input": ask.text,
        "voice": ask.voice,
        "response_format": "pcm",
        **({} if ask.seed is None else {"seed": ask.seed}),
        **fields,
    }
    return json.dumps(body).encode()


def _piper(ask: Ask, fields: Fields) -> bytes:
    return json.dumps({"text": ask.text, **fields}).encode()


def _pocket_tts(ask: Ask, fields: Fields) -> bytes:
    return urlencode({"text": ask.text, **fields}).encode()


OPENAI = "openai"
INTERFACES = {
    OPENAI: Interface("/v1/audio/speech", JSON, _openai, has_header=False),
    "piper": Interface("/synthesize", JSON, _piper, has_header=True),
    "pocket-tts": Interface("/tts", FORM, _pocket_tts, has_header=True),
}


def without_header(pieces: Iterable[bytes], rate_hz: int) -> Generator[bytes, None, None]:
    """The samples of a WAV file, as they come.

    Raises:
        Broken: it is none, or it has another rate.
    """
    begin, is_read = b"", False
    for piece in pieces:
        if is_read:
            yield piece
            continue
        begin += piece
        place = begin.find(b"data")
        if place >= 0 and place + 8 <= len(begin):
            _check_header(begin, rate_hz)
            is_read = True
            yield begin[place + 8 :]
        elif len(begin) > MOST_HEADER_BYTES:
            break
    if not is_read:
        raise Broken("no WAV file came")


def _check_header(begin: bytes, rate_hz: int) -> None:
    place = begin.find(b"fmt ")
    if place < 0 or len(begin) < place + 24:
        raise Broken("no WAV file came")
    channels, rate, bits = struct.unpack_from("<HI6xH", begin, place + 10)
    if (channels, rate, bits) != (1, rate_hz, 16):
        raise Broken(
            f"its audio has {channels} channels, {rate} Hz and {bits} bits, not 1, {rate_hz} and 16"
        )
