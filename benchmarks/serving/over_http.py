"""A server as a target, by the standard library: with OpenAI's `/v1/audio/speech`, or another API.

In: its address. Out: the bytes of raw 16-bit samples ("pcm") as they arrive.
"""

from __future__ import annotations

import http.client
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from benchmarks.serving.asking import Ask
from benchmarks.serving.interfaces import INTERFACES, OPENAI, without_header
from benchmarks.serving.targets import Broken, Refused, Rejected
from commands.errors import UserError

PCM_RATE_HZ = 24_000  # OpenAI's
TIMEOUT_SECONDS = 120.0
PIECE_BYTES = 65_536  # at most
MOST_REASON = 200  # characters of an error
TOO_MUCH = (429, 503)
GARBAGE = (
    b"",
    b"{",
    b"[]",
    b'{"model": "tts-1", "voice": "alloy"}',
    b'{"model": "tts-1", "voice": "alloy", "input": ""}',
    b'{"model": "tts-1", "voice": "../../etc/passwd", "input": "Hello."}',
    b'{"model": "tts-1", "voice": "alloy", "input": "Hello.", "response_format": "exe"}',
    b'{"model": "tts-1", "voice": "alloy", "input": "Hello.", "speed": 1e9}',
    b'{"model": "tts-1", "voice": "alloy", "input": 7}',
    b"\xff\xfe\x00",
)


class OverHttp:
    """See `Target`. fields: more of the request, such as `stream` of some servers. api: one of
    `INTERFACES`."""

    def __init__(
        self,
        url: str,
        voices: tuple[str, ...],
        fields: Mapping[str, Any],
        key: str = "none",
        rate_hz: int = PCM_RATE_HZ,
        api: str = OPENAI,
    ) -> None:
        """Raises `UserError` for an address that is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"{url}: is no address of a server; give http://HOST:PORT")
        self.name = url
        self.voices = voices
        self.bytes_per_second = 2 * rate_hz
        self._interface, self._rate_hz = INTERFACES[api], rate_hz
        self._parts, self._fields, self._key = parts, fields, key

    def speak(self, ask: Ask) -> Generator[bytes, None, None]:
        pieces = self._post(self._interface.body(ask, self._fields))
        return without_header(pieces, self._rate_hz) if self._interface.has_header else pieces

    def garbage(self, number: int) -> None:
        for _ in self._post(GARBAGE[number % len(GARBAGE)]):
            pass

    def _post(self, body: bytes) -> Generator[bytes, None, None]:
        with closing(self._connect()) as connection:
            try:
                connection.request("POST", self._path(), body, self._headers())
                response = connection.getresponse()
                _check(response)
                while piece := response.read1(PIECE_BYTES):
                    yield piece
            except (OSError, http.client.HTTPException) as error:
                raise Broken(f"{type(error).__name__}: {error}") from None

    def _connect(self) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        assert self._parts.hostname
        return kind(self._parts.hostname, self._parts.port, timeout=TIMEOUT_SECONDS)

    def _path(self) -> str:
        return self._parts.path.rstrip("/").removesuffix("/v1") + self._interface.path

    def _headers(self) -> dict[str, str]:
        content_type = self._interface.content_type
        return {"Content-Type": content_type, "Authorization": f"Bearer {self._key}"}


def _check(response: http.client.HTTPResponse) -> None:
    if response.status == 200:
        return
    reason = f"{response.status}: {response.read().decode(errors='replace')[:MOST_REASON]}"
    if response.status in TOO_MUCH:
        raise Refused(reason)
    if 400 <= response.status < 500:
        raise Rejected(reason)
    raise Broken(reason)
