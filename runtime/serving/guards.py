"""What every request passes first: a key, its origin, bounds on its size and time, and an id.

In: ASGI messages. Out: the same, or an error. Keys are compared in constant time and never logged.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from anyio import fail_after
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from commands.errors import UserError
from runtime.serving.errors import RequestFailed, error_response
from runtime.serving.metrics import Metrics
from runtime.serving.settings import MEGABYTE, ServerSettings

OPEN_PATHS = ("/", "/health", "/ready", "/v2/health/live", "/v2/health/ready")
PAGE_FILES = "/page/"  # they hold nothing of anyone
UPLOADS = "/v1/audio/voices"
SHORTEST_KEY = 16
MAKE_KEY = 'make one: python -c "import secrets; print(secrets.token_urlsafe(32))"'


def read_keys(path: Path | None, from_environment: str | None) -> tuple[bytes, ...]:
    """The keys of a file, one a line, and that of the environment.

    Raises:
        UserError: no such file, one that holds no text, or a key that can be guessed.
    """
    lines = [] if path is None else [line.strip() for line in _read_lines(path)]
    keys = [line for line in lines if line and not line.startswith("#")]
    if path is not None and not keys:
        raise UserError(f"{path}: holds no key; write one on a line")
    _check_lengths(keys, str(path))
    if from_environment:
        keys.append(from_environment.strip())  # files that become variables end with a line's end
        _check_lengths(keys, "the environment")
    return tuple(key.encode() for key in keys)


def _check_lengths(keys: Sequence[str], where: str) -> None:
    if any(len(key) < SHORTEST_KEY for key in keys):
        raise UserError(f"{where}: a key is shorter than {SHORTEST_KEY} characters; {MAKE_KEY}")


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").splitlines()  # Windows begins files with a mark
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; {MAKE_KEY}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not text; {MAKE_KEY}") from None


def check_origins(origins: Sequence[str]) -> None:
    """Raises `UserError` for one that no browser sends, so that it would allow nothing."""
    for origin in origins:
        parts = urlsplit(origin)
        if origin != "*" and (not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}"):
            message = "is no origin; give scheme and host alone, as in https://example.org"
            raise UserError(f"--allow-origin {origin}: {message}")


class Keys:
    """Of a server; there may be none, and then nobody is asked."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._digests = [hashlib.sha256(key).digest() for key in keys]

    def check(self, authorization: str, sent_as: str = "Authorization: Bearer KEY") -> None:
        """sent_as: how callers send one. Raises `RequestFailed` without one of the keys."""
        if not self._digests:
            return
        scheme, _, key = authorization.partition(" ")
        digest = hashlib.sha256(key.strip().encode("latin-1", "replace")).digest()
        fits = [hmac.compare_digest(digest, known) for known in self._digests]
        if scheme.lower() != "bearer" or not any(fits):
            message = f"a key is missing or wrong; send {sent_as}"
            raise RequestFailed(401, message, code="invalid_api_key")


class Guard:
    """Around the application."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._keys = Keys(settings.keys)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            send = self._noting(scope, send)
        try:
            self._check(scope)
        except RequestFailed as error:
            await refuse(error, scope, receive, send)
            return
        self._running += 1
        try:
            await self._app(scope, self._bounded(scope, receive), send)
        finally:
            self._running -= 1

    def _check(self, scope: Scope) -> None:
        """Raises `RequestFailed` for whom nothing is done."""
        headers = Headers(scope=scope)
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(PAGE_FILES):
            return
        if self._running >= self._settings.max_requests:
            message = f"{self._running} requests are being answered; try again"
            raise RequestFailed(429, message, code="too_many_requests", retry_after_seconds=1)
        self._check_origin(scope, headers)
        self._keys.check(headers.get("authorization", ""))
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes(path):
            raise _too_large(self._max_bytes(path))

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """A page of another site must not use a server that its reader can reach."""
        origin = headers.get("origin")
        if origin is None or origin in self._settings.origins or "*" in self._settings.origins:
            return
        is_read_only = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if is_read_only or urlsplit(origin).netloc == headers.get("host"):
            return
        message = "pages of other sites may not call this server; allow one with --allow-origin"
        raise RequestFailed(403, message, code="foreign_origin")

    def _max_bytes(self, path: str) -> int:
        if path == UPLOADS:
            return self._settings.max_upload_bytes + MEGABYTE  # the form around the file
        return self._settings.max_body_bytes

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """`receive` that ends a body that is too large or too slow."""
        if scope["type"] != "http":
            return receive
        most, end = self._max_bytes(scope["path"]), time.monotonic() + self._settings.body_seconds
        size, is_whole = 0, False

        async def bounded() -> Message:
            nonlocal size, is_whole
            if is_whole:
                return await receive()
            try:
                with fail_after(max(0.0, end - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise RequestFailed(408, "the body came too slowly", code="timeout") from None
            size += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if size > most:
                raise _too_large(most)
            return message

        return bounded

    def _noting(self, scope: Scope, send: Send) -> Send:
        """`send` that adds the request's id, and counts answers."""
        identity = f"req_{secrets.token_hex(8)}"
        scope.setdefault("state", {})["request_id"] = identity

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = identity
                headers["x-content-type-options"] = "nosniff"
                self._metrics.count_answer(_route(scope), message["status"])
            await send(message)

        return noting


def _route(scope: Scope) -> str:
    """A name for metrics that no caller can choose: of the function that answers."""
    return getattr(scope.get("endpoint"), "__name__", "other")


def _too_large(most: int) -> RequestFailed:
    return RequestFailed(413, f"the body is larger than {most} bytes", code="body_too_large")


async def refuse(error: RequestFailed, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with an error; a WebSocket as well, where the server can."""
    if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
        await error_response(error)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": error.message[:120]})
