"""What went wrong, as HTTP says it: one shape for all errors, that of OpenAI.

In: an exception. Out: a status and `{"error": {"message", "type", "param", "code"}}`, which clients
read for their own exceptions. It does not know routes.
"""

from __future__ import annotations

import math
from typing import Any

from starlette.responses import JSONResponse

from commands.errors import UserError
from runtime.scheduling.limits import Overloaded, ShuttingDown
from runtime.scheduling.speech import SpeechFailed, State

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
}
CODES = {
    State.EXPIRED: (503, "waited_too_long"),
    State.CANCELLED: (503, "speech_cancelled"),
    State.FAILED: (500, "speech_failed"),
}
CLOSING = (408, 413)  # the rest of the request is not read


class RequestFailed(Exception):
    """A request is answered with an error.

    param: the field that is wrong. code: for programs. retry_after_seconds: when to try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = " ".join(message.split())
        self.param = param
        self.code = code
        self.retry_after_seconds = retry_after_seconds

    def body(self) -> dict[str, Any]:
        """What `error` holds."""
        return {
            "message": self.message,
            "type": TYPES.get(self.status, "invalid_request_error"),
            "param": self.param,
            "code": self.code,
        }

    def headers(self) -> dict[str, str]:
        told = {"Connection": "close"} if self.status in CLOSING else {}
        if self.status == 401:
            told["WWW-Authenticate"] = "Bearer"
        if self.retry_after_seconds is not None:
            told["Retry-After"] = str(max(1, math.ceil(self.retry_after_seconds)))
        return told


# Why a text is not spoken at all.
REFUSED = (RequestFailed, UserError, Overloaded, ShuttingDown)


def explain(error: Exception) -> RequestFailed:
    """The answer to whatever was raised. Only known mistakes are told in their own words."""
    match error:
        case RequestFailed():
            return error
        case UserError():
            return RequestFailed(400, str(error), code="invalid_value")
        case Overloaded():
            seconds = error.retry_after_seconds
            return RequestFailed(429, str(error), code="overloaded", retry_after_seconds=seconds)
        case ShuttingDown():
            return RequestFailed(503, str(error), code="shutting_down", retry_after_seconds=1)
        case SpeechFailed():
            status, code = CODES[error.state]
            after = 1 if status == 503 else None
            message = f"the speech did not come to its end: {error.reason}"
            return RequestFailed(status, message, code=code, retry_after_seconds=after)
    return RequestFailed(500, "a defect of the server; its log says more", code="defect")


def error_response(error: Exception) -> JSONResponse:
    """The whole answer."""
    failed = explain(error)
    return JSONResponse({"error": failed.body()}, failed.status, failed.headers())
