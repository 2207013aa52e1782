"""What went wrong, as gRPC says it: a status, words, and when to try again.

In: an exception. Out: the end of a call. The words are those of HTTP.
"""

from __future__ import annotations

import math
from typing import Any

import grpc

from runtime.serving.errors import RequestFailed
from runtime.serving.riva.messages import RetryInfo, RpcStatus

_Code = grpc.StatusCode
CODES = {
    400: _Code.INVALID_ARGUMENT,
    401: _Code.UNAUTHENTICATED,
    403: _Code.PERMISSION_DENIED,
    404: _Code.NOT_FOUND,
    408: _Code.DEADLINE_EXCEEDED,
    413: _Code.INVALID_ARGUMENT,
    429: _Code.RESOURCE_EXHAUSTED,
    503: _Code.UNAVAILABLE,
}
DETAILS = "grpc-status-details-bin"  # where clients look for a `google.rpc.Status`
PUSHBACK = "grpc-retry-pushback-ms"  # which gRPC's own retries obey


def code_of(failed: RequestFailed) -> Any:
    """A `grpc.StatusCode`."""
    return CODES.get(failed.status, _Code.INTERNAL)


def trailers(failed: RequestFailed) -> tuple[tuple[str, str | bytes], ...]:
    """When to try again, if that helps."""
    if failed.retry_after_seconds is None:
        return ()
    seconds = max(1, math.ceil(failed.retry_after_seconds))
    status = RpcStatus(code=code_of(failed).value[0], message=failed.message)
    retry = RetryInfo()
    retry.retry_delay.seconds = seconds
    status.details.add().Pack(retry)
    return ((DETAILS, status.SerializeToString()), (PUSHBACK, str(1000 * seconds)))
